"""What moves a lane's rollout: pauses, steps, a promotion, an end; and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import Outcome, PauseReason
from registry.domain.states import RolloutOperation, RolloutState, VersionState
from services.common.errors import FailedPreconditionError
from tests.unit.registry.lanes import (
    OUTCOME,
    START,
    both,
    placed,
    running_lane,
    spec,
    stable_lane,
    states,
    types,
)


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


def test_every_pause_of_a_step_takes_time_off_it() -> None:
    lane = running_lane(500)
    for pause, resume in ((10, 50), (60, 85)):
        for moment, paused in ((pause, True), (resume, False)):
            assert lane.live is not None
            lane = LaneAggregate(
                lane.lane, (lane.live,), lane.states, now=START + moment, actor="local:ana", new_etag=lambda: "e"
            )
            if paused:
                lane.pause("", PauseReason.PERSON)
            else:
                lane.resume("", automatic=False)
    assert lane.live is not None
    assert (lane.live.step_started, lane.live.step_paused) == (START, 40.0 + 25.0)


def test_pauses_are_told_with_their_reason() -> None:
    lane = running_lane(500)
    for pause, resume in (("Let me look.", "Fine."), ("", "")):
        lane.pause(pause, PauseReason.PERSON)
        lane.resume(resume, automatic=False)
    told = [(event.type, event.version, event.rollout, event.reason) for event in lane.events[-4:]]
    assert told == [
        ("ROLLOUT_PAUSED", "v2", 1, "Let me look."),
        ("ROLLOUT_RESUMED", "v2", 1, "Fine."),
        ("ROLLOUT_PAUSED", "v2", 1, "Paused."),
        ("ROLLOUT_RESUMED", "v2", 1, "Resumed."),
    ]


def test_each_step_has_a_clock_of_its_own() -> None:
    lane = running_lane(500, 5000)
    assert lane.live is not None
    lane.live = replace(lane.live, step_paused=40.0)
    later = LaneAggregate(lane.lane, (lane.live,), lane.states, now=START + 90, actor="local:ana", new_etag=lambda: "e")
    later.advance(OUTCOME, both(), force=False)
    assert later.live is not None
    assert (later.live.started, later.live.step_started, later.live.step_paused) == (START, START + 90, 0.0)


def test_cancelled_versions_can_be_tried_again_and_failed_ones_not() -> None:
    lane = running_lane(500)
    assert lane.live is not None
    lane.cancel(lane.live, OUTCOME, inconclusive=True)
    assert lane.changed_rollouts[1].state is RolloutState.INCONCLUSIVE
    assert types(lane)[-1] == "ROLLOUT_INCONCLUSIVE"
    lane.cancel(lane.start("v2", spec(500), 2), OUTCOME, inconclusive=False)
    assert lane.changed_rollouts[2].state is RolloutState.CANCELLED
    assert types(lane)[-1] == "ROLLOUT_CANCELLED"
    lane.start("v2", spec(500), 3)
    lane.rollback(OUTCOME)
    with pytest.raises(FailedPreconditionError, match="FAILED is final"):
        lane.start("v2", spec(500), 4)
    with pytest.raises(FailedPreconditionError, match="all of the lane's traffic"):
        lane.start("v1", spec(500), 4)


def test_a_version_waits_once() -> None:
    lane = running_lane(500)
    lane.add("v3")
    lane.start("v3", spec(500), 2)
    with pytest.raises(FailedPreconditionError, match="waits already as rollout 2"):
        lane.start("v3", spec(500), 3)
    with pytest.raises(FailedPreconditionError, match="is under way"):
        lane.start("v2", spec(500), 3)


@pytest.mark.parametrize(
    ("ready", "stable", "allowed"),
    [(0, 0, False), (0, 1, False), (1, 0, True), (1, 2, False), (1, 1, True), (2, 3, True)],
)
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


@pytest.mark.parametrize("reason", ["", "Ana is sure."])
def test_a_step_is_told_by_why_it_was_gone_to_or_by_what_it_is(reason: str) -> None:
    lane = running_lane(500, 6000)
    outcome = Outcome(reason, "PERSON")
    lane.advance(outcome, both(), force=False)
    event = lane.events[-1]
    assert (event.type, event.outcome) == ("ROLLOUT_ADVANCED", outcome)
    assert event.reason == (reason or "v2 gets 60 % (step 2 of 2).")


def test_last_step_cannot_be_advanced() -> None:
    lane = running_lane(500)
    with pytest.raises(FailedPreconditionError, match="is in its last step"):
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


def test_promotion_hands_over() -> None:
    lane = running_lane(500)
    placements = [*both(), *placed("v1", "w2")]
    with pytest.raises(FailedPreconditionError, match="too few for 100 %"):
        lane.promote(OUTCOME, placements, force=False)
    lane.promote(OUTCOME, placements, force=True)
    assert (lane.lane.stable_version, lane.lane.previous_version, lane.lane.handover_version) == ("v2", "v1", "v1")
    assert states(lane) == {"v1": str(VersionState.DEPRECATED), "v2": str(VersionState.STABLE)}
