"""A version under test that fails is cut to a probe, unless stable fails alike."""

import asyncio

import pytest

from router.call import Call, Reply
from services.common.clock import SystemClock
from tests.fakes.transport import Behavior, FakeParts, Sent, fail, hang
from tests.support.wait import until
from tests.unit.router.house import STABLE, TEST, House, lane


async def test_a_test_version_that_always_fails_is_cut_to_a_probe() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL")
    for _ in range(500):
        assert (await house.predict()).reply.ok
    attempts = house.attempts()
    assert attempts["v2", "live", "INTERNAL"] == 15
    assert 0 < attempts["v2", "reduced", "INTERNAL"] < 20


@pytest.mark.parametrize("late", [False, True])
async def test_requests_at_which_stables_program_fails_alike_do_not_cut_the_test_version_off(late: bool) -> None:
    house = House(lane(test=10_000))
    behavior, asked = fail("INTERNAL", reason="OUTPUT_NOT_FINITE"), asyncio.Event()

    async def dawdle(sent: Sent) -> Reply:
        await asked.wait()
        return await behavior(sent)

    async def stable(sent: Sent) -> Reply:
        asked.set()
        return await behavior(sent)

    house.transport.behaviors.update({TEST: dawdle if late else behavior, STABLE: stable})
    answers = await asyncio.gather(*(house.predict(seconds=1.0) for _ in range(20)))
    assert {(answer.reply.code, answer.version) for answer in answers} == {("INTERNAL", "v1")}
    assert (await house.predict()).version == "v1"
    # They are counted all the same, as stable's own are: left out of one arm alone, they would hide what fails besides.
    assert house.attempts() == {("v2", "live", "INTERNAL"): 21, ("v1", "failover", "INTERNAL"): 21}


@pytest.mark.parametrize(
    "stable",
    [None, fail("INTERNAL", reason="MODEL_RAISED"), fail("INTERNAL"), fail("DEADLINE_EXCEEDED")],
)
async def test_a_program_that_fails_where_stable_does_not_fail_alike_is_cut_off(stable: Behavior | None) -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL", reason="OUTPUT_NOT_FINITE")
    if stable is not None:
        house.transport.behaviors[STABLE] = stable
    for _ in range(40):
        await house.predict()
    assert house.attempts()["v2", "live", "INTERNAL"] == 15


async def test_neither_a_caller_who_leaves_nor_one_whose_request_stable_fails_at_hides_a_program_that_fails() -> None:
    house = House(lane(test=10_000))
    behavior = fail("INTERNAL", reason="OUTPUT_NOT_FINITE")
    for number in range(45):
        house.transport.behaviors.update({TEST: behavior, STABLE: hang()})
        if number % 3 == 0:
            house.transport.behaviors[STABLE] = behavior
            await house.predict()
            continue
        house.transport.sent.clear()
        call = asyncio.create_task(house.predict(seconds=30.0))
        await until(lambda: house.transport.sent and house.transport.sent[-1].address == STABLE)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    # Of each three, the first says nothing of the version: it is cut off with the 15th of the others.
    assert house.attempts()["v2", "live", "INTERNAL"] == 23


async def test_a_stream_that_breaks_at_a_later_step_is_the_versions() -> None:
    house = House(lane(test=10_000))
    for _ in range(20):
        house.transport.rests = {TEST: FakeParts(1, Reply("INTERNAL", begun=True, reason="OUTPUT_NOT_FINITE"))}
        route = house.proxy.route("churn", "", "", "")
        call = Call(b"body", SystemClock().monotonic() + 5.0, streamed=True)
        await house.proxy.stream(call, route, lambda _: asyncio.sleep(0))
    assert house.attempts()["v2", "live", "INTERNAL"] == 15
