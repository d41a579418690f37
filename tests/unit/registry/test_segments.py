"""A segment's lane: how it begins, and what is left of it when it is taken away."""

from dataclasses import replace

import pytest

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import Assignment
from registry.domain.routes import LaneRoutes, removed_routes
from registry.domain.states import RolloutState, VersionState
from services.common.errors import FailedPreconditionError
from tests.unit.registry.lanes import OUTCOME, START, aggregate, running_lane, spec, stable_lane, states


def settled_lane(*, seen: bool = True) -> LaneAggregate:
    """A segment's lane with the stable version of another one."""
    lane = aggregate()
    lane.settle_in("v1", "Europe is judged by itself.", seen=seen)
    return lane


@pytest.mark.parametrize("seen", [False, True])
def test_it_begins_with_a_stable_version_that_workers_may_have_had_ready(*, seen: bool) -> None:
    lane = settled_lane(seen=seen)
    assert lane.states["v1"].state is VersionState.STABLE
    assert (lane.lane.stable_version, lane.lane.stable_since, lane.lane.stable_seen) == ("v1", START, seen)
    assert not lane.lane.removed
    assert [(event.type, event.reason) for event in lane.events] == [("SEGMENT_SET", "Europe is judged by itself.")]


def test_it_comes_back_with_what_was_stable_in_it() -> None:
    lane = settled_lane()
    lane.remove("Not needed.", cancel_rollout=False)
    lane.settle_in("v1", "Needed after all.")
    assert lane.states["v1"].state is VersionState.STABLE
    assert (lane.lane.stable_version, lane.lane.removed) == ("v1", False)


def test_what_failed_in_it_has_failed_still_when_it_comes_back() -> None:
    lane = running_lane(500)
    lane.rollback(OUTCOME)
    lane.remove("Not needed.", cancel_rollout=False)
    with pytest.raises(FailedPreconditionError, match="FAILED is final"):
        lane.settle_in("v2", "Needed after all.")


def test_nothing_of_it_is_carried_or_held_once_it_is_taken_away() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.load("v2", START + 60)
    lane.lane = replace(lane.lane, previous_version="v0", handover_version="v0")
    lane.remove("Not needed.", cancel_rollout=False)
    gone = lane.lane
    assert (gone.stable_version, gone.stable_since, gone.stable_seen) == ("", None, False)
    assert (gone.previous_version, gone.handover_version, gone.loaded, gone.removed) == ("", "", (), True)
    assert lane.states["v1"].state is VersionState.DEPRECATED
    assert (lane.events[-1].type, lane.events[-1].version) == ("SEGMENT_DELETED", "v1")
    assert removed_routes(gone) == LaneRoutes(
        model="m",
        segment="",
        epoch=0,
        slice_seconds=0.0,
        assignment=Assignment.REQUEST,
        bucket_offset=0,
        arms=(),
        wanted=(),
        failed_versions=(),
        rollout=0,
        stable_version="",
        test_version="",
        previous_version="",
        removed=True,
    )


def test_its_rollouts_are_cancelled_without_blame_if_that_is_asked_for() -> None:
    lane = running_lane(500)
    lane.add("v3")
    lane.start("v3", spec(500), 2)
    with pytest.raises(FailedPreconditionError, match=r"rollout 1 \(v2\) is live") as caught:
        lane.remove("Not needed.", cancel_rollout=False)
    assert caught.value.reason == "ROLLOUT_LIVE"
    lane.remove("Not needed.", cancel_rollout=True)
    assert (lane.live, lane.queued, lane.lane.live, lane.lane.queued) == (None, None, 0, 0)
    for number in (1, 2):
        ended = lane.changed_rollouts[number]
        assert ended.state is RolloutState.CANCELLED
        assert ended.outcome is not None
        assert ended.outcome.code == "SEGMENT_DELETED"
    assert states(lane) == {"v1": "DEPRECATED", "v2": "PENDING", "v3": "PENDING"}
    # The one that waited never began.
    assert "ROLLOUT_STARTED" not in [event.type for event in lane.events[-4:]]


def test_a_lane_without_a_stable_version_can_be_taken_away_too() -> None:
    lane = settled_lane()
    lane.remove("Not needed.", cancel_rollout=False)
    lane.reopen()
    assert not lane.lane.removed
    lane.remove("Not needed again.", cancel_rollout=False)
    assert lane.lane.removed


def test_a_lane_that_was_never_away_is_not_changed_by_bringing_it_back() -> None:
    lane = settled_lane()
    before = lane.lane
    lane.reopen()
    assert lane.lane == before
