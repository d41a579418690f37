"""What is charged to a version under test, or to nobody, and who answers its callers instead."""

import asyncio
from dataclasses import replace

import pytest

from router.call import Reply
from router.split import ArmName
from router.table import Target
from services.common.telemetry import catalog
from tests.fakes.transport import Sent, fail, hang
from tests.support.wait import until
from tests.unit.router.house import CONTROL, SECONDS, STABLE, TEST, House, lane, overrun


async def test_a_failing_test_version_is_charged_and_the_caller_gets_stables_answer() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL")
    answer = await house.predict()
    assert answer.reply.ok
    assert (answer.version, answer.traffic) == ("v1", "failover")
    assert house.attempts() == {("v2", "live", "INTERNAL"): 1, ("v1", "failover", "ok"): 1}


async def test_a_test_process_that_never_began_is_charged_to_nobody() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("UNAVAILABLE", begun=False)
    answer = await house.predict()
    assert answer.reply.ok
    assert house.attempts() == {("v1", "failover", "ok"): 1}


async def test_a_version_that_is_not_live_any_more_is_charged_to_nobody() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("FAILED_PRECONDITION", begun=False)
    assert (await house.predict()).version == "v1"
    assert house.attempts() == {("v1", "failover", "ok"): 1}


async def test_a_full_queue_is_charged() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("RESOURCE_EXHAUSTED", begun=False)
    assert (await house.predict()).version == "v1"
    assert house.attempts()["v2", "live", "RESOURCE_EXHAUSTED"] == 1


@pytest.mark.parametrize("test", [0, 10_000])
async def test_bad_input_goes_back_to_its_sender_and_is_charged_to_nobody(test: int) -> None:
    house = House(lane(test=test))
    house.transport.behaviors.update({TEST: fail("INVALID_ARGUMENT"), STABLE: fail("INVALID_ARGUMENT")})
    answer = await house.predict()
    assert answer.reply.code == "INVALID_ARGUMENT"
    # Of the test version's share stable is asked too, once.
    assert [sent.address for sent in house.transport.sent] == ([TEST, STABLE] if test else [STABLE])
    assert house.attempts() == {}


async def test_what_stable_has_no_say_in_is_the_senders_mistake() -> None:
    house = House(replace(lane(test=10_000), arms={ArmName.TEST: Target("v2", "live", (TEST,))}))
    house.transport.behaviors[TEST] = fail("INVALID_ARGUMENT")
    assert (await house.predict()).reply.code == "INVALID_ARGUMENT"
    one = lane(test=10_000)
    bare = House(replace(one, arms={**one.arms, ArmName.STABLE: Target("v1", "live", ())}))
    bare.transport.behaviors[TEST] = fail("INVALID_ARGUMENT")
    assert (await bare.predict()).reply.code == "INVALID_ARGUMENT"
    assert house.attempts() == bare.attempts() == {}


async def test_a_request_that_only_the_test_version_calls_wrong_is_answered_by_stable_and_charged() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INVALID_ARGUMENT")
    answer = await house.predict()
    assert (answer.reply.ok, answer.version, answer.traffic) == (True, "v1", "failover")
    assert house.attempts() == {("v2", "live", "INPUT_REFUSED"): 1, ("v1", "failover", "ok"): 1}
    for _ in range(100):
        assert (await house.predict()).version == "v1"
    # The breaker spares callers the detour.
    assert house.attempts()["v2", "live", "INPUT_REFUSED"] == 15


async def test_a_refusal_that_comes_late_is_charged_as_well() -> None:
    house, answered = House(lane(test=10_000)), asyncio.Event()
    house.hurry()

    async def slow(_: Sent) -> Reply:
        await answered.wait()
        return Reply("INVALID_ARGUMENT", begun=True)

    house.transport.behaviors[TEST] = slow
    assert (await house.predict()).version == "v1"
    answered.set()
    await until(lambda: house.attempts().get(("v2", "live", "INPUT_REFUSED")) == 1)


async def test_a_slow_test_version_costs_the_caller_half_of_its_time_and_its_timeout_is_recorded() -> None:
    house = House(lane(test=10_000))
    over = asyncio.Event()

    async def slow(_: Sent) -> Reply:
        await over.wait()
        return Reply("DEADLINE_EXCEEDED")

    house.transport.behaviors[TEST] = slow
    answer = await house.predict(seconds=1.0)
    assert answer.version == "v1"
    assert 0.0 < house.transport.sent[-1].timeout <= 0.5
    # Nobody has waited for it.
    assert ("v2", "live", "DEADLINE_EXCEEDED") not in house.attempts()
    over.set()
    await until(lambda: ("v2", "live", "DEADLINE_EXCEEDED") in house.attempts())
    assert house.attempts()["v1", "failover", "ok"] == 1


async def test_a_late_answer_of_the_test_version_is_better_than_none() -> None:
    house, failed = House(lane(test=10_000)), asyncio.Event()
    house.hurry()

    async def slow(_: Sent) -> Reply:
        await failed.wait()
        return Reply("OK", b"late", begun=True)

    async def fails(_: Sent) -> Reply:
        failed.set()
        return Reply("INTERNAL", begun=True)

    house.transport.behaviors.update({TEST: slow, STABLE: fails})
    answer = await house.predict()
    assert (answer.version, answer.reply.body) == ("v2", b"late")


async def test_a_caller_who_leaves_charges_nobody_and_is_no_error() -> None:
    house = House(lane(test=10_000))
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
    house.transport.behaviors[TEST] = hang()
    call = asyncio.create_task(house.predict(seconds=30.0))
    await until(lambda: house.transport.sent)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: house.transport.cancelled == 1)
    await asyncio.sleep(0)
    assert not errors
    assert house.attempts() == {}


@pytest.mark.parametrize("test", [0, 10_000])
async def test_a_deadline_that_cancels_the_handler_is_charged_in_both_arms_alike(test: int) -> None:
    house, over = House(lane(test=test)), asyncio.Event()

    async def hangs(_: Sent) -> Reply:
        await over.wait()
        return Reply("DEADLINE_EXCEEDED")

    house.transport.behaviors.update({STABLE: hangs, TEST: hangs})
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent)
    await overrun(house, call)
    over.set()
    version = "v2" if test else "v1"
    await until(lambda: house.attempts().get((version, "live", "DEADLINE_EXCEEDED")) == 1)
    (late,) = [one for one in house.store.snapshot() if one.metric is catalog.ATTEMPT_DURATION]
    assert SECONDS <= late.total < 2 * SECONDS


async def test_an_attempt_that_outlives_its_caller_ends_with_the_router() -> None:
    house = House(lane(test=10_000))
    house.hurry()

    async def never(_: Sent) -> Reply:
        await asyncio.Event().wait()
        return Reply("OK")

    house.transport.behaviors.update({TEST: never, STABLE: hang()})
    call = asyncio.create_task(house.predict())
    await until(lambda: len(house.transport.sent) == 2)
    await overrun(house, call)
    await until(lambda: house.transport.cancelled == 1)
    await house.proxy.close()
    assert house.transport.cancelled == 2


async def test_a_deadline_that_cancels_what_no_connection_has_carried_is_charged_to_nobody() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = hang()
    house.transport.unreached.add(STABLE)
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent)
    await overrun(house, call)
    assert house.transport.cancelled == 1
    assert house.attempts() == {}


async def test_controls_requests_go_to_stables_process_when_its_own_is_gone() -> None:
    house = House(lane(test=1, control=9_999))
    house.transport.behaviors[CONTROL] = fail("UNAVAILABLE", begun=False)
    answer = await house.predict()
    assert answer.reply.ok
    assert {sent.address for sent in house.transport.sent} == {CONTROL, STABLE}


async def test_what_stables_process_answers_for_control_is_judged_for_neither() -> None:
    house = House(lane(test=1, control=9_999))
    house.transport.behaviors[CONTROL] = fail("UNAVAILABLE", begun=False)
    await house.predict()
    assert house.attempts() == {("v1", "failover", "ok"): 1}
