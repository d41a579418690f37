"""Calls to a version of which many processes are gone."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from router.call import Reply
from router.split import ArmName
from router.table import Table, Target
from tests.fakes.transport import Sent, fail
from tests.support.wait import until
from tests.unit.router.house import CONTROL, STABLE, TEST, House, gone, lane, many, served_at
from tests.unit.router.test_streams import Reader, stream

EIGHT = tuple(f"w:{number}" for number in range(8))


def half_gone() -> House:
    """Eight stable processes, of which the first four are gone for good."""
    house = House(many(EIGHT))
    house.transport.behaviors |= dict.fromkeys(EIGHT[:4], gone)
    return house


def asked(house: House) -> list[str]:
    return [sent.address for sent in house.transport.sent]


async def test_every_process_is_asked_before_any_is_waited_for() -> None:
    house = half_gone()
    assert (await house.predict()).reply.body == b"w:4"
    assert asked(house) == list(EIGHT[:5])


async def test_those_that_refused_lately_are_asked_last() -> None:
    house = half_gone()
    house.transport.shunned = set(EIGHT[1:4])
    assert (await house.predict()).reply.body == b"w:4"
    assert asked(house) == ["w:0", "w:4"]


async def test_of_those_that_refused_lately_only_a_few_are_asked_once_more() -> None:
    house = House(many(EIGHT))
    house.transport.behaviors |= dict.fromkeys(EIGHT, gone)
    house.transport.shunned = set(EIGHT)
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    assert asked(house) == [*EIGHT[:4], "w:0"]
    call.cancel()


async def test_a_version_that_is_not_live_any_more_is_not_asked_for_everywhere() -> None:
    house = House(many(EIGHT))
    house.transport.behaviors |= dict.fromkeys(EIGHT, fail("FAILED_PRECONDITION", begun=False))
    assert (await house.predict(seconds=0.1)).reply.code == "FAILED_PRECONDITION"
    assert asked(house) == list(EIGHT[:4])


async def test_whichever_process_comes_back_first_answers_and_only_one_of_them() -> None:
    house = House(many(EIGHT))
    answering = asyncio.Event()

    async def back(sent: Sent) -> Reply:
        if sent.address not in house.transport.connected:
            return await gone(sent)
        await answering.wait()
        return Reply("OK", sent.address.encode(), begun=True)

    house.transport.behaviors |= dict.fromkeys(EIGHT, back)
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.transport.connected = {"w:5", "w:6"}
    await until(lambda: asked(house)[-1] == "w:5")
    # Time enough to ask the next one.
    await asyncio.sleep(0.05)
    answering.set()
    assert (await call).reply.body == b"w:5"
    assert Counter(asked(house)) == Counter({one: 2 if one in {"w:0", "w:5"} else 1 for one in EIGHT})


async def test_one_that_comes_back_and_refuses_is_followed_by_the_next() -> None:
    house = House(many(EIGHT))

    async def back(sent: Sent) -> Reply:
        if sent.address == "w:6" and sent.wait:
            return Reply("OK", b"w:6", begun=True)
        return Reply("UNAVAILABLE") if sent.address in house.transport.connected else await gone(sent)

    house.transport.behaviors |= dict.fromkeys(EIGHT, back)
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.transport.connected = {"w:5", "w:6"}
    assert (await call).reply.body == b"w:6"


def coming_back() -> tuple[House, asyncio.Event]:
    """Two processes that are away, and that answer once they are waited for and the event is set."""
    house, answering = House(lane()), asyncio.Event()

    async def back(sent: Sent) -> Reply:
        if not sent.wait:
            return Reply("UNAVAILABLE")
        await answering.wait()
        return Reply("OK", sent.address.encode(), begun=True)

    house.transport.behaviors |= {STABLE: back, "stable:2": back}
    return house, answering


async def test_of_two_that_answer_at_the_same_moment_one_is_taken() -> None:
    house, answering = coming_back()
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    await until(lambda: asked(house)[-1] == "stable:2")
    answering.set()
    assert (await call).reply.body in {STABLE.encode(), b"stable:2"}


async def test_of_two_streams_that_begin_at_the_same_moment_the_other_one_is_left() -> None:
    house, answering = coming_back()
    reader = Reader()
    call = asyncio.create_task(stream(house, reader))
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    await until(lambda: asked(house)[-1] == "stable:2")
    answering.set()
    assert (await call).parts == 3
    assert {address: rest.left for address, rest in house.transport.rests.items()} == {
        address: address != reader.parts[0].decode() for address in (STABLE, "stable:2")
    }


async def test_a_version_that_is_not_live_any_more_when_its_process_is_back_is_asked_no_more() -> None:
    house = House(lane())

    async def back(sent: Sent) -> Reply:
        return Reply("FAILED_PRECONDITION") if sent.wait else Reply("UNAVAILABLE")

    house.transport.behaviors[STABLE] = back
    assert (await house.predict(seconds=0.5)).reply.code == "FAILED_PRECONDITION"
    assert asked(house) == [STABLE, STABLE]


@pytest.mark.parametrize("leased", [(), (STABLE,)])
async def test_news_that_name_no_other_process_have_none_asked_once_more(leased: tuple[str, ...]) -> None:
    # Without a lease its process is kept in the arm alone.
    house = House(replace(lane(), pins={"v1": leased}))
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    house.proxy.use(Table(2, {("churn", ""): lane(epoch=4)}))
    for _ in range(10):
        await asyncio.sleep(0)
    assert asked(house) == [STABLE, STABLE]
    call.cancel()


async def test_a_call_goes_to_no_process_of_another_version() -> None:
    house = House(lane(test=1))
    house.transport.behaviors[STABLE] = gone
    house.transport.connected = {TEST}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    # Time enough to ask the one that is connected.
    await asyncio.sleep(0.05)
    assert asked(house) == [STABLE, STABLE]
    call.cancel()


async def test_of_the_processes_that_newer_routes_name_one_that_was_not_asked_is_asked() -> None:
    house = House(served_at(STABLE, "stable:2"))
    house.transport.behaviors |= {STABLE: gone, "stable:2": gone}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    house.proxy.use(Table(2, {("churn", ""): served_at("stable:2", "stable:3")}))
    assert (await asyncio.wait_for(call, 1.0)).reply.body == b"stable:3"


async def test_what_another_process_answers_for_control_by_newer_routes_is_judged_for_neither() -> None:
    house = House(lane(test=1, control=9_999))
    house.transport.behaviors |= {CONTROL: gone, STABLE: gone}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    house.proxy.use(Table(2, {("churn", ""): served_at("stable:2")}))
    answer = await asyncio.wait_for(call, 1.0)
    assert (answer.reply.body, answer.traffic) == (b"stable:2", "failover")


async def test_a_process_that_refused_before_is_asked_again_when_routes_lead_to_no_other() -> None:
    house = House(served_at(STABLE, "stable:2"))
    house.transport.behaviors |= {STABLE: gone, "stable:2": gone}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    del house.transport.behaviors["stable:2"]
    house.proxy.use(Table(2, {("churn", ""): served_at("stable:2")}))
    assert (await asyncio.wait_for(call, 1.0)).reply.body == b"stable:2"
    assert asked(house) == [STABLE, "stable:2", STABLE, "stable:2"]


@pytest.mark.parametrize("known", [False, True])
async def test_a_process_is_waited_for_although_the_routes_name_none_any_more(known: bool) -> None:
    house, back = House(lane()), asyncio.Event()

    async def returns(sent: Sent) -> Reply:
        if not sent.wait:
            return Reply("UNAVAILABLE")
        await back.wait()
        return Reply("OK", b"back", begun=True)

    house.transport.behaviors[STABLE] = returns
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    house.proxy.use(Table(2, {("churn", ""): served_at()} if known else {}))
    for _ in range(10):
        await asyncio.sleep(0)
    back.set()
    assert (await call).reply.body == b"back"


@pytest.mark.parametrize(
    "reply", [Reply("DEADLINE_EXCEEDED", begun=True), Reply("RESOURCE_EXHAUSTED")], ids=["slow", "full"]
)
async def test_what_a_process_that_is_back_fails_at_is_charged(reply: Reply) -> None:
    house = House(lane())

    async def back(sent: Sent) -> Reply:
        return reply if sent.wait else Reply("UNAVAILABLE")

    house.transport.behaviors[STABLE] = back
    assert (await house.predict()).reply.code == reply.code
    assert house.attempts() == {("v1", "live", reply.code): 1}


async def test_a_call_that_has_waited_leaves_nothing_that_waits() -> None:
    house, mine = House(lane()), asyncio.all_tasks()

    async def back(sent: Sent) -> Reply:
        return Reply("OK", b"back", begun=True) if sent.wait else Reply("UNAVAILABLE")

    house.transport.behaviors[STABLE] = back
    for _ in range(5):
        assert (await house.predict()).reply.ok
    await until(lambda: asyncio.all_tasks() == mine)


async def test_a_process_at_an_address_that_another_version_had_is_asked() -> None:
    house = House(lane(test=1))
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, TEST)}))
    assert (await asyncio.wait_for(call, 1.0)).reply.body in {STABLE.encode(), TEST.encode()}


async def test_nobody_looks_for_processes_any_more_when_the_caller_has_left() -> None:
    house = House(many(EIGHT))
    house.transport.behaviors |= dict.fromkeys(EIGHT, gone)
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.looking)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: not house.transport.looking)


async def test_what_the_other_arms_process_answers_after_a_wait_is_judged_for_neither() -> None:
    one = lane(test=1, control=9_999)
    house = House(replace(one, arms={**one.arms, ArmName.STABLE: Target("v1", "live", ("other:1",))}))

    async def back(sent: Sent) -> Reply:
        if sent.wait and sent.address == "other:1":
            return Reply("OK", b"back", begun=True)
        return await gone(sent)

    house.transport.behaviors |= {CONTROL: back, "other:1": back}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.transport.connected = {"other:1"}
    answer = await call
    assert (answer.reply.body, answer.traffic) == (b"back", "failover")
