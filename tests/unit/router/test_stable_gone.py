"""A stable version that fails, or whose processes end: waited for, asked again, and charged."""

import asyncio
from dataclasses import replace

from router.call import Reply
from router.split import ArmName
from router.table import Table, Target
from tests.fakes.transport import Sent, fail
from tests.support.wait import until
from tests.unit.router.house import STABLE, House, gone, lane, many, overrun


async def test_a_stable_version_that_has_failed_is_left_as_soon_as_the_routes_say_so() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("FAILED_PRECONDITION", begun=False)
    call = asyncio.create_task(house.predict())
    await until(lambda: len(house.transport.sent) == 1)
    other = lane(epoch=9)
    house.proxy.use(Table(2, {("other", ""): replace(other, model="other"), ("churn", ""): lane()}))
    undone = replace(lane(epoch=4), arms={ArmName.STABLE: Target("v0", "live", ("previous:1",))})
    house.proxy.use(Table(3, {("churn", ""): undone}))
    answer = await call
    assert (answer.reply.ok, answer.version, answer.traffic) == (True, "v0", "failover")


async def test_a_stable_version_that_has_failed_is_said_to_have_when_no_routes_come() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("FAILED_PRECONDITION", begun=False)
    answer = await house.predict(seconds=0.1)
    assert answer.reply.code == "FAILED_PRECONDITION"
    # Nor are they waited for for long, or when the model is gone from them.
    house.proxy.use(Table(2, {("churn", ""): lane(epoch=4)}))
    call = asyncio.create_task(house.predict(seconds=30.0))
    await until(lambda: len(house.transport.sent) == 2)
    house.proxy.use(Table(3, {("churn", ""): replace(lane(epoch=5), arms={})}))
    await asyncio.sleep(0.01)
    house.proxy.use(Table(4, {}))
    assert (await asyncio.wait_for(call, 3.0)).reply.code == "FAILED_PRECONDITION"


async def test_what_a_version_fails_at_with_the_words_of_one_that_is_not_live_is_no_refusal() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("FAILED_PRECONDITION")
    answer = await asyncio.wait_for(house.predict(seconds=30.0), 0.5)
    assert (answer.reply.code, answer.traffic) == ("FAILED_PRECONDITION", "live")
    assert house.attempts() == {("v1", "live", "FAILED_PRECONDITION"): 1}


async def test_a_stable_version_that_fails_is_not_asked_twice() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("INTERNAL")
    answer = await house.predict()
    assert answer.reply.code == "INTERNAL"
    assert len(house.transport.sent) == 1


async def test_a_stable_process_that_is_gone_is_waited_for() -> None:
    house = House(lane())

    async def come_back(sent: Sent) -> Reply:
        return Reply("OK", b"again", begun=True) if sent.wait else Reply("UNAVAILABLE")

    house.transport.behaviors[STABLE] = come_back
    assert (await house.predict()).reply.ok
    assert [sent.wait for sent in house.transport.sent] == [False, True]
    # However many wait: what never began multiplies no overload.
    for _ in range(20):
        assert (await house.predict()).reply.ok


async def test_the_last_process_of_a_stable_version_refuses_while_it_ends_and_is_waited_for_all_the_same() -> None:
    house = House(lane())

    async def end(sent: Sent) -> Reply:
        ended = len(house.transport.sent) > 4
        return Reply("OK", b"again", begun=True) if ended else Reply("UNAVAILABLE", details=b"DRAINING")

    house.transport.behaviors[STABLE] = end
    assert (await house.predict()).reply.body == b"again"
    assert house.attempts() == {("v1", "live", "ok"): 1}


async def test_a_process_that_only_refuses_is_asked_until_the_callers_time_is_over() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("UNAVAILABLE", begun=False)
    answer = await house.predict(seconds=0.4)
    assert answer.reply.code == "UNAVAILABLE"
    assert 1 < len(house.transport.sent) <= 7
    left = [one.timeout for one in house.transport.sent]
    assert left == sorted(left, reverse=True)
    assert 0.0 < left[-1] < left[0] <= 0.4


async def test_all_that_a_dying_process_worked_on_is_asked_once_more() -> None:
    house = House(lane())

    async def die(sent: Sent) -> Reply:
        return (
            Reply("OK", b"again", begun=True)
            if sent.wait
            else Reply("UNAVAILABLE", message="Socket closed", begun=True)
        )

    house.transport.behaviors[STABLE] = die
    answers = await asyncio.gather(*(house.predict() for _ in range(100)))
    assert all(answer.reply.ok for answer in answers)


async def test_a_call_of_a_dying_process_goes_to_another_one_where_there_is_one() -> None:
    house = House(many((STABLE, "other:1")))
    house.transport.behaviors[STABLE] = fail("UNAVAILABLE")
    assert (await house.predict()).reply.body == b"other:1"
    assert [sent.address for sent in house.transport.sent] == [STABLE, "other:1"]


async def test_a_worker_that_says_itself_that_it_cannot_is_asked_again_within_the_budget() -> None:
    house = House(lane())

    async def refuse(sent: Sent) -> Reply:
        return Reply("UNAVAILABLE", message="not now", details=b"a status", begun=True)

    house.transport.behaviors[STABLE] = refuse
    for _ in range(100):
        await house.predict()
    # Ten that were saved up, and a tenth of the calls since.
    assert 118 <= len(house.transport.sent) <= 120


async def test_dead_processes_are_passed_over_while_others_serve() -> None:
    house = House(many(("dead:1", "dead:2", STABLE)))
    house.transport.behaviors.update({name: fail("UNAVAILABLE", begun=False) for name in ("dead:1", "dead:2")})
    assert (await house.predict()).reply.ok
    assert [(sent.address, sent.wait) for sent in house.transport.sent] == [
        ("dead:1", False),
        ("dead:2", False),
        (STABLE, False),
    ]


async def test_waiting_in_vain_for_a_process_is_charged_to_nobody() -> None:
    house = House(lane())
    calls = 0

    async def gone(sent: Sent) -> Reply:
        nonlocal calls
        calls += 1
        return Reply("DEADLINE_EXCEEDED") if sent.wait else Reply("UNAVAILABLE")

    house.transport.behaviors[STABLE] = gone
    assert (await house.predict()).reply.code == "DEADLINE_EXCEEDED"
    assert calls == 2
    assert house.attempts() == {}


async def test_a_deadline_that_cancels_a_call_which_waits_for_a_process_is_charged_to_nobody() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    await overrun(house, call)
    await until(lambda: house.transport.cancelled == 1)
    assert house.attempts() == {}
