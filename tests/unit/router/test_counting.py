"""What calls and attempts come to in the meters, besides whom they are charged to."""

import asyncio
from dataclasses import replace

import pytest

from router.call import Reply
from router.split import BUCKETS, ArmName, bucket_of
from router.table import Lane, Target
from services.common.errors import UnavailableError
from services.common.telemetry import catalog
from services.common.telemetry.store import Snapshot
from tests.fakes.transport import Sent, fail, hang
from tests.unit.router.house import STABLE, TEST, House, cohorts, lane
from tests.unit.router.test_streams import Reader, stream


def calls(house: House) -> dict[tuple[str, str, str], Snapshot]:
    """Calls as their callers saw them, by (version, traffic, outcome)."""
    found = [one for one in house.store.snapshot() if one.metric is catalog.ROUTE_DURATION]
    return {(one.attributes[1], one.attributes[2], one.attributes[4]): one for one in found}


async def test_a_call_is_counted_as_its_caller_saw_it_by_who_answered_it_in_the_end() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL")
    await house.predict()
    house.transport.behaviors[STABLE] = fail("RESOURCE_EXHAUSTED")
    await house.predict(pin="v1")
    house.transport.behaviors.clear()
    await stream(house, Reader())
    counts = {key: sum(one.counts) for key, one in calls(house).items()}
    assert all(0.0 <= one.total < 1.0 for one in calls(house).values())
    assert counts == {
        ("v1", "failover", "ok"): 1,
        ("v1", "pinned", "RESOURCE_EXHAUSTED"): 1,
        ("v2", "live", "ok"): 1,
    }


async def test_a_call_that_nobody_serves_is_counted_with_the_time_that_it_took() -> None:
    bare = replace(lane(), arms={ArmName.STABLE: Target("v1", "live", ())})
    house = House(bare)
    with pytest.raises(UnavailableError):
        await house.predict()
    (counted,) = calls(house).items()
    assert counted[0] == ("v1", "live", "UNAVAILABLE")
    assert 0.0 <= counted[1].total < 1.0


async def test_a_question_about_a_version_is_no_call_and_waits_for_no_process() -> None:
    house = House(lane(test=10_000))
    reply = await house.proxy.ask(house.proxy.route("churn", "", "", "v1"), "/inference/ModelMetadata", b"", 2.0)
    assert reply.body == STABLE.encode()
    assert [(sent.metadata, sent.timeout, sent.wait) for sent in house.transport.sent] == [({}, 2.0, False)]
    assert not house.attempts()
    assert not calls(house)


async def test_what_only_the_test_version_calls_wrong_is_charged_with_the_time_that_it_took() -> None:
    house = House(lane(test=10_000))

    async def slow(_: Sent) -> Reply:
        await asyncio.sleep(0.05)
        return Reply("INVALID_ARGUMENT", begun=True)

    house.transport.behaviors[TEST] = slow
    await house.predict()
    (refused,) = [one for one in house.store.snapshot() if "INPUT_REFUSED" in one.attributes]
    assert 0.05 <= refused.total < 1.0


def sticky_at(cohort: int) -> tuple[Lane, str]:
    """A lane that tries a version by key, and a key of that cohort."""
    keys = (f"user-{number}" for number in range(BUCKETS))
    return lane(test=10_000, sticky=True), next(key for key in keys if bucket_of("churn", key) % 50 == cohort)


async def test_the_first_cohort_is_one_as_any_other() -> None:
    tried, key = sticky_at(0)
    house = House(tried)
    await house.predict(key=key)
    assert house.transport.sent[0].metadata["x-crossfade-cohort"] == "0"
    assert cohorts(house) == {("v2", "live", "ok"): {0: 1}}


async def test_cohorts_are_counted_where_a_version_gets_nothing_but_copies() -> None:
    mirrored, key = replace(lane(control=10_000, sticky=True), shadow=Target("v2", "shadow", (TEST,))), sticky_at(7)[1]
    house = House(mirrored)
    await house.predict(key=key)
    assert cohorts(house) == {("v1", "control", "ok"): {7: 1}}
    await house.proxy.close()


async def test_a_pinned_call_has_no_cohort_while_a_version_is_tried_by_key() -> None:
    tried, key = sticky_at(0)
    house = House(tried)
    await house.predict(key=key, pin="v1")
    assert "x-crossfade-cohort" not in house.transport.sent[0].metadata
    assert cohorts(house) == {}


async def test_calls_that_the_test_version_leaves_to_others_are_forgotten_when_it_has_ended_them() -> None:
    house = House(lane(test=10_000))
    house.hurry()
    house.transport.behaviors[TEST] = hang()
    assert (await house.predict(seconds=0.5)).version == "v1"
    assert house.proxy._late
    for task in tuple(house.proxy._late):
        await task
    await asyncio.sleep(0)
    assert not house.proxy._late
