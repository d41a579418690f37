"""The lane as a whole: what follows from what, and what is refused."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import Outcome, PauseReason, Undo
from registry.domain.routes import held_versions
from registry.domain.serving import ServingState, Traffic
from registry.domain.states import RolloutOperation, RolloutState, VersionState
from services.common.errors import FailedPreconditionError
from tests.unit.registry.lanes import START, aggregate, both, placed, running_lane, spec, stable_lane

OUTCOME = Outcome(reason="Because.", code="PERSON", actor="local:ana")


def states(lane: LaneAggregate) -> dict[str, str]:
    return {name: str(one.state) for name, one in lane.states.items()}


def types(lane: LaneAggregate) -> list[str]:
    return [event.type for event in lane.events]


def test_rollout_begins_when_test_and_control_are_ready() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.start("v2", spec(500), 1)
    assert lane.live is not None
    assert states(lane) == {"v1": "STABLE", "v2": "TESTING"}
    for placements in (
        placed("v1", "w1"),
        [*placed("v1", "w1"), *placed("v2", "w1", state=ServingState.LOADING)],
        # Ready, but stable's control process is still to come there.
        [*placed("v1", "w1"), *placed("v2", "w1")],
        [*placed("v2", "w1"), *placed("v1", "w1", state=ServingState.LOADING, traffic=Traffic.CONTROL)],
        [*placed("v2", "w1"), *placed("v1", "w2", traffic=Traffic.CONTROL)],
    ):
        lane.observe(placements)
        assert lane.live.state is RolloutState.WAITING_READY
    lane.observe(both())
    assert lane.live.state is RolloutState.RUNNING
    assert lane.live.started == lane.live.step_started == START
    assert types(lane)[-1] == "ROLLOUT_RUNNING"


def test_control_that_failed_holds_nothing_up() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.start("v2", spec(500), 1)
    lane.observe([*placed("v2", "w1"), *placed("v1", "w1", state=ServingState.FAILED, traffic=Traffic.CONTROL)])
    assert lane.live is not None
    assert lane.live.state is RolloutState.RUNNING


def test_stable_version_that_was_never_ready_is_replaced() -> None:
    lane = aggregate()
    lane.add("v1")
    lane.establish("v1")
    lane.add("v2")
    lane.start("v2", spec(500), 1)
    lane.observe([*placed("v1", "w1", state=ServingState.LOADING), *placed("v2", "w1")])
    assert lane.lane.stable_version == "v1"
    (waits,) = placed("v1", "w1", state=ServingState.LOADING)
    unreachable = replace(waits, serving=replace(waits.serving, error="its source does not exist"))
    for tried in ([unreachable], placed("v1", "w1", state=ServingState.FAILED)):
        again = deepcopy(lane)
        again.observe([*tried, *placed("v2", "w1")])
        assert states(again) == {"v1": "DEPRECATED", "v2": "STABLE"}
    lane = again
    assert lane.live is None
    ended = lane.changed_rollouts[1]
    assert ended.state is RolloutState.PROMOTED
    assert ended.outcome is not None
    assert ended.outcome.code == "STABLE_NEVER_READY"


def test_a_newer_publication_waits_and_supersedes() -> None:
    lane = running_lane(500, 5000)
    lane.add("v3")
    third = lane.start("v3", spec(500), 2)
    assert third.state is RolloutState.QUEUED
    assert third.note == "v3 waits for rollout 1 (v2, 5 %) and starts by itself."
    lane.advance(OUTCOME, both(), force=False)
    assert lane.queued is not None
    assert lane.queued.note == "v3 waits for rollout 1 (v2, 50 %) and starts by itself."
    lane.add("v4")
    lane.start("v4", spec(500), 3)
    superseded = lane.changed_rollouts[2]
    assert superseded.state is RolloutState.CANCELLED
    assert superseded.outcome is not None
    assert superseded.outcome.code == "SUPERSEDED"
    assert states(lane) == {"v1": "STABLE", "v2": "TESTING", "v3": "PENDING", "v4": "PENDING"}
    lane.rollback(OUTCOME)
    assert lane.live is not None
    assert (lane.live.number, lane.live.state) == (3, RolloutState.WAITING_READY)
    assert lane.queued is None
    assert lane.lane.queued == 0
    assert states(lane) == {"v1": "STABLE", "v2": "FAILED", "v3": "PENDING", "v4": "TESTING"}


def test_the_next_range_begins_where_the_last_one_ended() -> None:
    lane = running_lane(500, 5000)
    assert lane.live is not None
    assert lane.live.bucket_offset == 0
    lane.advance(OUTCOME, both(), force=False)
    lane.rollback(OUTCOME)
    assert lane.lane.next_offset == 5000
    lane.add("v3")
    lane.start("v3", spec(6000), 2)
    # It never began, so it had no range.
    assert lane.live is not None
    lane.cancel(lane.live, OUTCOME, inconclusive=False)
    assert lane.lane.next_offset == 5000
    lane.start("v3", spec(6000), 3)
    placements = [*placed("v1", "w1"), *placed("v1", "w1", traffic=Traffic.CONTROL), *placed("v3", "w1")]
    lane.observe(placements)
    assert lane.live.bucket_offset == 5000
    lane.promote(OUTCOME, placements, force=False)
    assert lane.lane.next_offset == 1000


def test_pause_takes_time_off_the_step() -> None:
    lane = running_lane(500)
    lane.pause("", PauseReason.INPUT_DRIFT)
    assert lane.live is not None
    later = LaneAggregate(lane.lane, (lane.live,), lane.states, now=START + 40, actor="local:ana", new_etag=lambda: "e")
    later.pause("Mine.", PauseReason.PERSON)
    assert later.live is not None
    assert (later.live.paused, later.live.pause_reason) == (START, PauseReason.PERSON)
    with pytest.raises(FailedPreconditionError, match="only a person resumes it"):
        later.resume("", automatic=True)
    with pytest.raises(FailedPreconditionError, match="paused already"):
        later.pause("", PauseReason.INPUT_DRIFT)
    later.resume("", automatic=False)
    assert (later.live.state, later.live.step_paused, later.live.paused) == (RolloutState.RUNNING, 40.0, None)


def test_cancelled_versions_can_be_tried_again_and_failed_ones_not() -> None:
    lane = running_lane(500)
    assert lane.live is not None
    lane.cancel(lane.live, OUTCOME, inconclusive=True)
    assert lane.changed_rollouts[1].state is RolloutState.INCONCLUSIVE
    lane.start("v2", spec(500), 2)
    lane.rollback(OUTCOME)
    with pytest.raises(FailedPreconditionError, match="FAILED is final"):
        lane.start("v2", spec(500), 3)
    with pytest.raises(FailedPreconditionError, match="all of the lane's traffic"):
        lane.start("v1", spec(500), 3)


def test_a_version_waits_once() -> None:
    lane = running_lane(500)
    lane.add("v3")
    lane.start("v3", spec(500), 2)
    with pytest.raises(FailedPreconditionError, match="waits already as rollout 2"):
        lane.start("v3", spec(500), 3)
    with pytest.raises(FailedPreconditionError, match="is under way"):
        lane.start("v2", spec(500), 3)


@pytest.mark.parametrize(("ready", "stable", "allowed"), [(0, 1, False), (1, 2, False), (1, 1, True), (2, 3, True)])
def test_advance_asks_for_workers(ready: int, stable: int, *, allowed: bool) -> None:
    lane = running_lane(500, 6000)
    placements = [
        *placed("v1", *(f"w{number}" for number in range(stable))),
        *placed("v2", *(f"w{number}" for number in range(ready))),
    ]
    if allowed:
        lane.advance(OUTCOME, placements, force=False)
    else:
        with pytest.raises(FailedPreconditionError, match="repeat with force") as caught:
            lane.advance(OUTCOME, placements, force=False)
        assert caught.value.reason == "NOT_READY_ENOUGH"
        lane.advance(OUTCOME, placements, force=True)
    assert lane.live is not None
    assert lane.live.step == 1


def test_last_step_cannot_be_advanced() -> None:
    lane = running_lane(500)
    with pytest.raises(FailedPreconditionError, match="last of its 1 steps"):
        lane.advance(OUTCOME, both(), force=True)


Move = Callable[[LaneAggregate], None]

MOVES: dict[RolloutOperation, Move] = {
    RolloutOperation.ADVANCE: lambda lane: lane.advance(OUTCOME, both(), force=True),
    RolloutOperation.PAUSE: lambda lane: lane.pause("", PauseReason.PERSON),
    RolloutOperation.RESUME: lambda lane: lane.resume("", automatic=False),
    RolloutOperation.PROMOTE: lambda lane: lane.promote(OUTCOME, both(), force=True),
    RolloutOperation.ROLLBACK: lambda lane: lane.rollback(OUTCOME),
}


@pytest.mark.parametrize("operation", MOVES)
def test_nothing_moves_without_a_live_rollout(operation: RolloutOperation) -> None:
    lane = stable_lane()
    with pytest.raises(FailedPreconditionError):
        MOVES[operation](lane)


@pytest.mark.parametrize("operation", [RolloutOperation.ADVANCE, RolloutOperation.PAUSE, RolloutOperation.PROMOTE])
def test_a_waiting_rollout_has_nothing_to_move(operation: RolloutOperation) -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.start("v2", spec(500, 600), 1)
    with pytest.raises(FailedPreconditionError, match="possible now: roll back, end as inconclusive, cancel"):
        MOVES[operation](lane)


def test_etags_follow_transitions_and_not_readiness() -> None:
    lane = stable_lane()
    before = lane.lane.etag
    lane.observe(placed("v1", "w1", "w2"))
    assert lane.lane.etag == before
    lane.add("v2")
    lane.start("v2", spec(500), 1)
    assert lane.lane.etag != before
    assert lane.live is not None
    etag = lane.live.etag
    lane.observe(both())
    assert lane.live.etag != etag


def test_promotion_hands_over() -> None:
    lane = running_lane(500)
    placements = [*both(), *placed("v1", "w2")]
    with pytest.raises(FailedPreconditionError, match="too few for 100 %"):
        lane.promote(OUTCOME, placements, force=False)
    lane.promote(OUTCOME, placements, force=True)
    assert (lane.lane.stable_version, lane.lane.previous_version, lane.lane.handover_version) == ("v2", "v1", "v1")
    assert states(lane) == {"v1": str(VersionState.DEPRECATED), "v2": str(VersionState.STABLE)}


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
    assert (lane.lane.stable_version, lane.lane.previous_version, lane.lane.stable_seen) == ("v1", "v2", True)
    assert (lane.events[-1].type, lane.events[-1].reason) == ("LANE_UNDONE", "Callers complain.")
    # And back again.
    lane.undo(undo(), both())
    assert states(lane) == {"v1": "DEPRECATED", "v2": "STABLE"}


def test_undo_of_a_bad_version_is_final() -> None:
    lane = promoted_lane()
    lane.undo(undo(bad=True), both())
    assert states(lane) == {"v1": "STABLE", "v2": "FAILED"}
    assert (lane.lane.previous_version, lane.lane.handover_version) == ("", "")
    with pytest.raises(FailedPreconditionError, match=r"no version to go back to; .* FAILED stays so"):
        lane.undo(undo(), both())
    with pytest.raises(FailedPreconditionError, match="v2 is FAILED"):
        lane.undo(undo("v2"), both())


def test_undo_waits_for_workers_unless_forced_and_the_present_one_carries_on_meanwhile() -> None:
    lane = promoted_lane()
    only_new = placed("v2", "w1")
    with pytest.raises(FailedPreconditionError) as caught:
        lane.undo(undo(), only_new)
    assert caught.value.reason == "NOT_READY_ENOUGH"
    lane.undo(undo(force=True), only_new)
    assert (lane.lane.stable_version, lane.lane.handover_version) == ("v1", "v2")


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


def test_only_a_pending_version_can_be_withdrawn() -> None:
    lane = running_lane(500)
    lane.add("v3")
    lane.withdraw("v3", "Wrong data.")
    assert states(lane)["v3"] == "WITHDRAWN"
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


def test_what_has_failed_cannot_be_loaded_and_what_fails_is_let_go() -> None:
    lane = running_lane(500)
    lane.load("v2", START + 60)
    lane.rollback(OUTCOME)
    assert lane.lane.loaded == ()
    with pytest.raises(FailedPreconditionError, match="v2 is FAILED in this lane, and no request may reach it"):
        lane.load("v2", START + 60)


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


def test_a_lane_that_came_back_without_a_stable_version_is_undone_too() -> None:
    lane = stable_lane()
    lane.remove("Not needed.", cancel_rollout=False)
    lane.reopen()
    lane.undo(Undo("v1", "Needed after all.", bad=True, cancel_rollout=False, force=True), ())
    assert (lane.lane.stable_version, lane.lane.previous_version) == ("v1", "")
    assert lane.states["v1"].state is VersionState.STABLE
