"""What the proxy remembers of versions: how long stable takes, whose program fails, and for how long it is known."""

import asyncio
from dataclasses import replace

import pytest

from router.call import Call, Reply
from router.split import ArmName
from router.table import Table, Target
from services.common.clock import SystemClock
from services.common.errors import UnavailableError
from tests.fakes.transport import Sent, fail
from tests.support.wait import until
from tests.unit.router.house import STABLE, TEST, House, lane


def patience(house: House, version: str) -> float:
    """How long the version's answer to a call of 8 seconds is waited for."""
    call = Call(b"body", SystemClock().monotonic() + 8.0)
    return house.proxy._attempts.patience(house.proxy.route("churn", "", "", "").lane, version, call).seconds(8.0)


async def test_only_what_stable_answers_to_its_own_requests_says_how_long_it_takes() -> None:
    house = House(lane())
    for _ in range(64):
        await house.predict()
    assert patience(house, "v1") < 1.0
    tried = House(lane(test=10_000))
    for _ in range(64):
        await tried.predict()
    assert patience(tried, "v2") == 4.0
    controlled = House(lane(test=1, control=9_999))
    for _ in range(65):
        await controlled.predict()
    assert patience(controlled, "v1") < 1.0


async def test_failures_say_nothing_of_how_long_an_answer_takes() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("INTERNAL")
    for _ in range(64):
        await house.predict()
    assert patience(house, "v1") == 4.0


async def test_nothing_is_remembered_of_a_version_that_has_left_the_lane() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL")
    for _ in range(15):
        await house.predict()
    house.transport.behaviors[TEST] = fail("RESOURCE_EXHAUSTED")
    await house.predict()
    house.proxy.use(Table(2, {("churn", ""): lane(test=10_000, epoch=4)}))
    await house.predict()
    assert ("v2", "live", "RESOURCE_EXHAUSTED") not in house.attempts(), "it is cut off, and stays so"
    house.proxy.use(Table(3, {("churn", ""): lane()}))
    house.proxy.use(Table(4, {("churn", ""): lane(test=10_000)}))
    await house.predict()
    assert house.attempts()["v2", "live", "RESOURCE_EXHAUSTED"] == 1


async def test_how_long_a_version_takes_is_learnt_anew_when_it_comes_back() -> None:
    house = House(lane())
    for _ in range(64):
        await house.predict()
    house.proxy.use(Table(2, {("churn", ""): lane(epoch=4)}))
    assert patience(house, "v1") < 1.0, "it has not left"
    other = replace(lane(), arms={ArmName.STABLE: Target("v2", "live", (TEST,))})
    house.proxy.use(Table(3, {("churn", ""): other}))
    house.proxy.use(Table(4, {("churn", ""): lane()}))
    assert patience(house, "v1") == 4.0


@pytest.mark.parametrize(("code", "reason"), [("RESOURCE_EXHAUSTED", ""), ("INTERNAL", "MODEL_RAISED")])
async def test_a_version_that_is_cut_off_where_nothing_is_stable_is_said_not_to_be_served(
    code: str, reason: str
) -> None:
    house = House(replace(lane(test=10_000), arms={ArmName.TEST: Target("v2", "live", (TEST,))}))
    house.transport.behaviors[TEST] = fail(code, reason=reason)
    assert (await house.predict()).reply.code == code
    del house.transport.behaviors[TEST]
    assert (await house.predict()).version == "v2"
    house.transport.behaviors[TEST] = fail(code, reason=reason)
    for _ in range(14):
        assert (await house.predict()).reply.code == code
    with pytest.raises(UnavailableError) as caught:
        await house.predict()
    assert caught.value.reason == "NOT_SERVING"


async def test_a_program_that_fails_after_stable_has_answered_is_cut_off_as_well() -> None:
    house = House(lane(test=10_000))
    house.hurry()
    answered = asyncio.Event()

    async def late(_: Sent) -> Reply:
        await answered.wait()
        return Reply("INTERNAL", begun=True, reason="OUTPUT_NOT_FINITE")

    house.transport.behaviors[TEST] = late
    answers = await asyncio.gather(*(house.predict() for _ in range(15)))
    assert {answer.version for answer in answers} == {"v1"}
    answered.set()
    await until(lambda: house.attempts().get(("v2", "live", "INTERNAL")) == 15)
    await until(lambda: not house.proxy._late)
    house.transport.sent.clear()
    await house.predict()
    assert [sent.address for sent in house.transport.sent] == [STABLE]
