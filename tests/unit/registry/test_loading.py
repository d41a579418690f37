"""Versions outside of rollouts: held for pinned calls, or taken back."""

import pytest

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.routes import held_versions
from services.common.errors import FailedPreconditionError
from tests.unit.registry.lanes import OUTCOME, START, running_lane, spec, stable_lane, states


def test_only_a_pending_version_can_be_withdrawn() -> None:
    lane = running_lane(500)
    lane.add("v3")
    before = lane.lane.etag
    lane.withdraw("v3", "Wrong data.")
    assert states(lane)["v3"] == "WITHDRAWN"
    assert lane.lane.etag != before
    event = lane.events[-1]
    assert (event.type, event.version, event.reason) == ("VERSION_WITHDRAWN", "v3", "Wrong data.")
    for version in ("v1", "v2", "v3"):
        with pytest.raises(FailedPreconditionError):
            lane.withdraw(version, "Wrong data.")
    lane.add("v4")
    lane.start("v4", spec(500), 2)
    with pytest.raises(FailedPreconditionError, match="waits as rollout 2"):
        lane.withdraw("v4", "Wrong data.")
    with pytest.raises(FailedPreconditionError, match="v3 is WITHDRAWN"):
        lane.start("v3", spec(500), 3)


def test_a_loaded_version_is_held_until_its_time_and_counts_for_nothing_else() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.load("v2", START + 60)
    assert [load.version for load in lane.lane.loaded] == ["v2"]
    assert states(lane)["v2"] == "PENDING"
    assert held_versions(lane.lane, lane.live) == ("v1", "v2")
    lane.load("v2", START + 90)
    assert [load.until for load in lane.lane.loaded] == [START + 90]
    for now, left in ((START + 89, 1), (START + 90, 0)):
        later = LaneAggregate(lane.lane, (), lane.states, now=now, actor="registry", new_etag=lambda: "e")
        later.expire_loads()
        assert len(later.lane.loaded) == left
    lane.load("v2", START)
    assert (lane.lane.loaded, lane.events[-1].type) == ((), "VERSION_UNLOADED")
    before, told = lane.lane, len(lane.events)
    lane.load("v2", START)
    assert (lane.lane, len(lane.events)) == (before, told)


def test_what_was_loaded_by_a_clock_that_was_years_ahead_is_held_for_a_week() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.load("v2", START + 315_360_000)
    later = LaneAggregate(lane.lane, (), lane.states, now=START + 5, actor="registry", new_etag=lambda: "e")
    for _ in range(2):
        later.expire_loads()
        assert [load.until for load in later.lane.loaded] == [START + 5 + 7 * 86_400]
    assert [event.type for event in later.events] == ["VERSION_LOADED"]


def test_what_is_held_and_what_is_let_go_is_told() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.load("v2", START + 60)
    lane.load("v2", START)
    lane.load("v2", START + 60)
    later = LaneAggregate(lane.lane, (), lane.states, now=START + 60, actor="local:ana", new_etag=lambda: "e")
    later.expire_loads()
    loaded = ("VERSION_LOADED", "v2", "v2 is held for pinned calls and gets no traffic.", "")
    assert [(event.type, event.version, event.reason, event.actor) for event in (*lane.events[1:], *later.events)] == [
        loaded,
        ("VERSION_UNLOADED", "v2", "v2 is no longer held for pinned calls.", ""),
        loaded,
        ("VERSION_UNLOADED", "v2", "v2 was held for as long as was asked.", "registry"),
    ]


def test_what_has_failed_cannot_be_loaded_and_what_fails_is_let_go() -> None:
    lane = running_lane(500)
    lane.load("v2", START + 60)
    lane.rollback(OUTCOME)
    assert lane.lane.loaded == ()
    with pytest.raises(FailedPreconditionError, match="v2 is FAILED in this lane, and no request may reach it"):
        lane.load("v2", START + 60)


def test_what_was_withdrawn_cannot_be_loaded() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.withdraw("v2", "Wrong data.")
    with pytest.raises(FailedPreconditionError, match="v2 is WITHDRAWN in this lane, and no request may reach it"):
        lane.load("v2", START + 60)
    assert lane.lane.loaded == ()


def test_only_so_many_versions_are_loaded_by_hand() -> None:
    lane = stable_lane()
    for number in range(2, 8):
        lane.add(f"v{number}")
    for number in range(2, 7):
        lane.load(f"v{number}", START + 60)
    with pytest.raises(FailedPreconditionError, match="v2, v3, v4, v5, v6") as caught:
        lane.load("v7", START + 60)
    assert caught.value.reason == "TOO_MANY_LOADED"
    lane.load("v6", START + 90)


@pytest.mark.parametrize("how", ["withdrawn", "rolled back", "lane deleted"])
def test_a_version_that_may_have_no_requests_any_more_is_let_go_and_that_is_told(how: str) -> None:
    if how == "rolled back":
        lane, version, why = running_lane(500), "v2", "v2 is FAILED, and no request may reach it."
        lane.load(version, START + 60)
        lane.rollback(OUTCOME)
    else:
        lane, version, why = stable_lane(), "v3", "v3 is WITHDRAWN, and no request may reach it."
        lane.add(version)
        lane.load(version, START + 60)
        if how == "withdrawn":
            lane.withdraw(version, "Wrong data.")
        else:
            why = "The lane of segment  was deleted."
            lane.remove("Not needed.", cancel_rollout=False)
    assert lane.lane.loaded == ()
    told = [(event.version, event.reason, event.actor) for event in lane.events if event.type == "VERSION_UNLOADED"]
    assert told == [(version, why, "registry")]
