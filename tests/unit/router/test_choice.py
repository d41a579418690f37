"""Who is asked: by share, key, pin and segment; and what is said where nobody can be."""

import asyncio
import random
import re
from dataclasses import replace

import pytest

from router.meters import Meters
from router.proxy import Proxy
from router.split import ArmName, Split
from router.table import Lane, Table, Target
from services.common.clock import SystemClock
from services.common.errors import DeadlineExceededError, FailedPreconditionError, NotFoundError, UnavailableError
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import RunningClock
from tests.fakes.transport import FakeTransport
from tests.unit.router.house import House, lane


async def test_requests_are_split_by_share() -> None:
    house = House(lane(test=1_000, control=1_000))
    for _ in range(4_000):
        await house.predict()
    counts = house.attempts()
    # Binomial(4,000, 0.1) has a standard deviation of 19: five of them.
    assert abs(counts["v2", "live", "ok"] - 400) < 95
    assert abs(counts["v1", "control", "ok"] - 400) < 95
    assert sum(counts.values()) == 4_000


async def test_a_key_stays_with_its_arm_under_key_assignment() -> None:
    house = House(lane(test=5_000, sticky=True))
    versions = {(await house.predict(key="user-1")).version for _ in range(50)}
    assert len(versions) == 1


async def test_requests_without_a_key_are_spread_under_key_assignment_too() -> None:
    house = House(lane(test=5_000, sticky=True))
    versions = {(await house.predict()).version for _ in range(50)}
    assert versions == {"v1", "v2"}


async def test_a_key_is_ignored_under_request_assignment() -> None:
    house = House(lane(test=5_000))
    versions = {(await house.predict(key="user-1")).version for _ in range(50)}
    assert versions == {"v1", "v2"}


async def test_the_share_of_a_version_that_nobody_serves_is_stables() -> None:
    one = lane(test=10_000)
    house = House(replace(one, arms={**one.arms, ArmName.TEST: Target("v2", "live", ())}))
    answer = await house.predict()
    assert (answer.version, answer.traffic) == ("v1", "live")


@pytest.mark.parametrize(("pin", "version"), [("v2", "v2"), ("@stable", "v1"), ("@test", "v2"), ("v1", "v1")])
async def test_pins(pin: str, version: str) -> None:
    house = House(lane())
    answer = await house.predict(pin=pin)
    assert (answer.version, answer.traffic) == (version, "pinned")


@pytest.mark.parametrize(
    ("pin", "segment", "then"),
    [
        (
            "@previous",
            "",
            ". A published one is held after `crossfade try churn v0`, unless it is FAILED or WITHDRAWN",
        ),
        ("a b", "", ""),
        ("v3", "", ". v3 is FAILED in this lane, and no request may reach it"),
        ("v9", "", ". A published one is held after `crossfade try churn v9`, unless it is FAILED or WITHDRAWN"),
        (
            "v9",
            "eu",
            ". A published one is held after `crossfade try churn v9 --segment eu`, unless it is FAILED or WITHDRAWN",
        ),
    ],
)
async def test_a_pin_to_what_no_worker_holds_says_what_can_be_reached_and_what_loads_it(
    pin: str, segment: str, then: str
) -> None:
    of_segment = replace(lane(), segment=segment, failed=frozenset({"v3"}))
    with pytest.raises(NotFoundError, match=rf"now: v1, v2{re.escape(then)}$") as caught:
        await House(of_segment).predict(pin=pin, segment=segment)
    assert caught.value.reason == "VERSION_NOT_LOADED"
    with pytest.raises(NotFoundError, match=rf"now: none{re.escape(then)}$"):
        await House(replace(of_segment, pins={})).predict(pin=pin, segment=segment)


async def test_calls_before_the_first_table_wait_a_moment_for_it() -> None:
    early = Proxy(FakeTransport(), Meters(MetricStore()), SystemClock(), random.Random(7).random, lambda *_: None)
    with pytest.raises(UnavailableError) as caught:
        early.route("churn", "", "", "")
    assert caught.value.reason == "ROUTES_UNKNOWN"
    waiting = asyncio.create_task(early.first_table())
    await asyncio.sleep(0)
    assert not waiting.done()
    early.use(Table(0))
    await asyncio.wait_for(waiting, 0.5)
    with pytest.raises(NotFoundError):
        early.route("churn", "", "", "")


async def test_nobody_waits_for_routes_that_did_not_come_when_the_router_started() -> None:
    clock = RunningClock()
    early = Proxy(FakeTransport(), Meters(MetricStore()), clock, random.Random(7).random, lambda *_: None)
    clock.advance(60.0)
    # Whoever is told at once has the time to ask another Router.
    await asyncio.wait_for(early.first_table(), 0.5)
    assert not early.table.known


async def test_unknown_model() -> None:
    with pytest.raises(NotFoundError) as caught:
        House(lane()).proxy.route("chrun", "", "", "")
    assert caught.value.reason == "MODEL_NOT_FOUND"


async def test_a_lane_without_a_stable_version() -> None:
    empty = Lane("churn", "", 0, False, Split(0, 0, 0), {}, {}, {}, {})
    for one, segment in ((empty, ""), (replace(empty, segment="eu"), "eu")):
        with pytest.raises(FailedPreconditionError) as caught:
            await House(one).predict(segment=segment)
        assert caught.value.reason == "NO_STABLE_VERSION"


async def test_nothing_serves_the_stable_version() -> None:
    bare = Lane("churn", "", 0, False, Split(0, 0, 0), {ArmName.STABLE: Target("v1", "live", ())}, {}, {}, {})
    with pytest.raises(UnavailableError) as caught:
        await House(bare).predict()
    assert caught.value.reason == "NOT_SERVING"


async def test_a_deadline_that_was_over_on_arrival() -> None:
    house = House(lane())
    with pytest.raises(DeadlineExceededError):
        await house.predict(seconds=0.0)
    assert house.transport.sent == []


async def test_a_segments_lane_without_a_stable_version_leaves_its_requests_to_the_default_lane() -> None:
    empty = replace(lane(), segment="eu", arms={})
    house = House(lane(), empty)
    assert (await house.predict(segment="eu")).version == "v1"
    own = replace(lane(), segment="eu", arms={ArmName.STABLE: Target("v9", "live", ("own:1",))})
    assert (await House(lane(), own).predict(segment="eu")).version == "v9"


async def test_a_segments_lane_without_a_stable_version_answers_only_pins_of_versions_that_only_it_holds() -> None:
    empty = replace(lane(), segment="eu", arms={}, names={}, pins={"v7": ("seven:1",)})
    house = House(lane(), empty)
    for pin, version in (("@stable", "v1"), ("v2", "v2"), ("v7", "v7")):
        answer = await house.predict(segment="eu", pin=pin)
        assert (answer.version, answer.traffic) == (version, "pinned")
    with pytest.raises(NotFoundError, match="v1, v2"):
        await house.predict(segment="eu", pin="v9")
