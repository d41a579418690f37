"""Undoing a lane: what becomes stable again, and what carries the traffic meanwhile."""

from dataclasses import replace
from itertools import product

import pytest

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import Outcome, Undo
from registry.domain.routes import held_versions
from registry.domain.serving import ServingState, Traffic
from registry.domain.states import RolloutState, VersionState
from services.common.errors import FailedPreconditionError
from tests.unit.registry.lanes import OUTCOME, START, both, placed, running_lane, spec, stable_lane, states


def undo(version: str = "", *, bad: bool = False, cancel_rollout: bool = False, force: bool = False) -> Undo:
    return Undo(version, "Callers complain.", bad, cancel_rollout, force)


def promoted_lane() -> LaneAggregate:
    """v2 is stable, v1 before it."""
    lane = running_lane(500)
    lane.promote(OUTCOME, both(), force=False)
    return lane


def test_undo_goes_back_to_the_version_before() -> None:
    lane = promoted_lane()
    lane.undo(undo(), both())
    assert states(lane) == {"v1": "STABLE", "v2": "DEPRECATED"}
    assert (lane.lane.stable_version, lane.lane.previous_version, lane.lane.stable_seen) == ("v1", "", True)
    assert (lane.events[-1].type, lane.events[-1].reason) == ("LANE_UNDONE", "Callers complain.")
    assert lane.events[-1].outcome == Outcome("v2 is DEPRECATED: Callers complain.", "UNDONE", actor="local:ana")


@pytest.mark.parametrize("bad", [False, True])
def test_who_undoes_what_was_just_undone_brings_it_back_by_its_name_alone(bad: bool) -> None:
    lane = promoted_lane()
    lane.undo(undo(), both())
    with pytest.raises(FailedPreconditionError, match="no version to go back to: it was undone") as caught:
        lane.undo(undo(bad=bad), both())
    assert caught.value.reason == "TRANSITION_ILLEGAL"
    assert states(lane) == {"v1": "STABLE", "v2": "DEPRECATED"}
    lane.undo(undo("v2"), both())
    assert states(lane) == {"v1": "DEPRECATED", "v2": "STABLE"}


def test_what_was_undone_stays_loaded_for_an_hour_so_that_it_could_come_back() -> None:
    lane = promoted_lane()
    lane.undo(undo(), both())
    assert [(load.version, load.until) for load in lane.lane.loaded] == [("v2", START + 3600.0)]
    assert held_versions(lane.lane, lane.live) == ("v1", "v2")
    loaded = lane.events[-2]
    assert (loaded.type, loaded.version, loaded.actor) == ("VERSION_LOADED", "v2", "registry")
    # No shorter than somebody has asked for.
    lane = promoted_lane()
    lane.load("v2", START + 7200.0)
    lane.undo(undo(), both())
    assert [(load.version, load.until) for load in lane.lane.loaded] == [("v2", START + 7200.0)]


def test_what_was_undone_takes_no_place_of_what_is_loaded_by_hand() -> None:
    lane = promoted_lane()
    for number in range(3, 8):
        lane.add(f"v{number}")
        lane.load(f"v{number}", START + 60.0)
    lane.undo(undo(), both())
    assert [load.version for load in lane.lane.loaded] == ["v3", "v4", "v5", "v6", "v7"]


def test_undo_of_a_bad_version_is_final() -> None:
    lane = promoted_lane()
    lane.undo(undo(bad=True), both())
    assert lane.lane.loaded == ()
    assert states(lane) == {"v1": "STABLE", "v2": "FAILED"}
    assert (lane.lane.previous_version, lane.lane.handover_version) == ("", "")
    assert lane.events[-1].outcome == Outcome("v2 is FAILED: Callers complain.", "UNDONE_AS_BAD", actor="local:ana")
    with pytest.raises(FailedPreconditionError, match=r"no version to go back to: .* FAILED stays so"):
        lane.undo(undo(), both())
    # However few Workers have it: waiting for more would not help.
    for ready in (both(), []):
        with pytest.raises(FailedPreconditionError, match="v2 is FAILED"):
            lane.undo(undo("v2"), ready)


def test_undo_waits_for_workers_unless_forced_and_the_present_one_carries_on_meanwhile() -> None:
    lane = promoted_lane()
    only_new = placed("v2", "w1")
    # However bad the present one is, and although no Worker may have that either: there would be no answers at all.
    for bad, placements in product((False, True), (only_new, [])):
        with pytest.raises(FailedPreconditionError) as caught:
            lane.undo(undo(bad=bad), placements)
        assert caught.value.reason == "NOT_READY_ENOUGH"
        assert "`crossfade try m v1` has it loaded" in caught.value.message
    lane.undo(undo(force=True), only_new)
    assert (lane.lane.stable_version, lane.lane.handover_version) == ("v1", "v2")


def test_what_is_said_of_too_few_workers_fits_the_lane_of_a_segment() -> None:
    lane = promoted_lane()
    lane.lane = replace(lane.lane, segment="eu")
    with pytest.raises(FailedPreconditionError) as caught:
        lane.undo(undo(), placed("v2", "w1"))
    said = "too few for 100 % of the traffic; wait until more are ready (`crossfade try m v1 --segment eu` has it"
    assert caught.value.message.startswith(f"v1 is ready on 0 Worker(s) and v2 on 1, {said}")
    # One that was deleted and has come back has nothing stable that it could be compared with.
    lane.remove("Not needed.", cancel_rollout=False)
    lane.reopen()
    with pytest.raises(FailedPreconditionError) as caught:
        lane.undo(undo("v1"), ())
    assert caught.value.message.startswith(f"v1 is ready on 0 Worker(s), {said}")


def test_what_was_stable_before_is_replaced_by_no_version_that_has_not_been_tested() -> None:
    lane = promoted_lane()
    lane.undo(undo(force=True), placed("v2", "w1"))
    lane.observe([*placed("v2", "w1"), *placed("v1", "w1", state=ServingState.FAILED)])
    lane.add("v3")
    lane.start("v3", spec(100), 2)
    lane.observe([*placed("v2", "w1"), *placed("v3", "w1"), *placed("v1", "w1", state=ServingState.FAILED)])
    assert (lane.lane.stable_version, lane.lane.handover_version) == ("v1", "v2")
    assert lane.live is not None
    assert lane.live.state is RolloutState.WAITING_READY
    assert lane.live.note == "v3 waits until v1 carries all of the traffic: v2 has a part of it still."
    # A forced undo cancels the live rollout, and the one that waited behind it begins no life of its own by that.
    lane = promoted_lane()
    for number, version in enumerate(("v3", "v4"), start=2):
        lane.add(version)
        lane.start(version, spec(100), number)
    lane.undo(undo(force=True, cancel_rollout=True), placed("v2", "w1"))
    lane.observe([*placed("v2", "w1"), *placed("v4", "w1")])
    assert (lane.lane.stable_version, states(lane)["v4"]) == ("v1", "TESTING")
    assert lane.live is not None
    assert (lane.live.stable_version, lane.live.state) == ("v1", RolloutState.WAITING_READY)
    assert lane.live.note == "v4 waits until v1 carries all of the traffic: v2 has a part of it still."
    lane.observe(placed("v1", "w1"))
    assert lane.live.note == "v4 waits until a Worker has loaded and verified it."


def test_a_rollout_begins_when_the_version_before_carries_nothing_any_more() -> None:
    lane = promoted_lane()
    ready = [*placed("v2", "w1", "w2", "w3"), *placed("v1", "w1")]
    lane.undo(undo(force=True), ready)
    lane.add("v3")
    lane.start("v3", spec(500), 2)
    testable = [*placed("v3", "w1"), *placed("v1", "w1", traffic=Traffic.CONTROL)]
    lane.observe([*ready, *testable])
    assert lane.live is not None
    assert (lane.live.state, lane.lane.handover_version) == (RolloutState.WAITING_READY, "v2")
    lane.observe([*ready, *testable, *placed("v1", "w2", "w3")])
    assert (lane.live.state, lane.lane.handover_version) == (RolloutState.RUNNING, "")


def test_an_undo_during_a_handover_leaves_the_traffic_where_it_is() -> None:
    for bad in (False, True):
        lane = running_lane(500)
        most = [*both(), *placed("v1", "w2", "w3", "w4")]
        lane.promote(OUTCOME, most, force=True)
        lane.add("v0")
        lane.states["v0"] = replace(lane.states["v0"], state=VersionState.DEPRECATED)
        with pytest.raises(FailedPreconditionError, match=r"v0 is ready on 1 Worker\(s\) and v1 on 4"):
            lane.undo(undo("v0"), [*most, *placed("v0", "w1")])
        lane.undo(undo("v0", bad=bad, force=True), [*most, *placed("v0", "w1")])
        assert (lane.lane.stable_version, lane.lane.handover_version) == ("v0", "v1")
        assert "v1" in held_versions(lane.lane, lane.live)


def test_undo_during_a_rollout_takes_its_cancellation() -> None:
    lane = promoted_lane()
    lane.add("v3")
    lane.start("v3", spec(500), 2)
    with pytest.raises(FailedPreconditionError) as caught:
        lane.undo(undo(), both())
    assert caught.value.reason == "ROLLOUT_LIVE"
    lane.undo(undo(cancel_rollout=True), both())
    assert states(lane) == {"v1": "STABLE", "v2": "DEPRECATED", "v3": "PENDING"}
    assert lane.changed_rollouts[2].state is RolloutState.CANCELLED


def test_a_lane_that_came_back_without_a_stable_version_is_undone_too() -> None:
    lane = stable_lane()
    lane.remove("Not needed.", cancel_rollout=False)
    lane.reopen()
    lane.undo(Undo("v1", "Needed after all.", bad=True, cancel_rollout=False, force=True), ())
    assert (lane.lane.stable_version, lane.lane.previous_version) == ("v1", "")
    assert lane.states["v1"].state is VersionState.STABLE
