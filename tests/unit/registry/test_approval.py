"""Promotions that wait for a person, by the lane's own rules."""

from dataclasses import replace

import pytest

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import Approval
from registry.domain.serving import ServingState
from registry.domain.states import RolloutState
from services.common.errors import FailedPreconditionError
from tests.unit.registry.lanes import OUTCOME, START, aggregate, both, placed, running_lane, spec, stable_lane

HELD = replace(spec(500), approval_required=True)


def held_lane() -> LaneAggregate:
    """v2 is RUNNING as rollout 1 and is promoted only after a person has agreed."""
    lane = stable_lane()
    lane.add("v2")
    lane.start("v2", HELD, 1)
    lane.observe(both())
    return lane


def test_nothing_is_promoted_before_a_person_has_agreed() -> None:
    lane = held_lane()
    for force in (False, True):
        with pytest.raises(FailedPreconditionError, match=r"rollout 1 \(v2\) .* `crossfade approve m`") as caught:
            lane.promote(OUTCOME, both(), force=force)
        assert caught.value.reason == "APPROVAL_MISSING"
    assert lane.live is not None
    lane.approve(lane.live, "")
    lane.promote(OUTCOME, both(), force=False)
    assert lane.lane.stable_version == "v2"


def test_who_agreed_when_and_why_is_kept_and_told() -> None:
    lane = held_lane()
    assert lane.live is not None
    before, lane_before = lane.live, lane.lane
    lane.approve(lane.live, "The errors are fine.")
    assert lane.live == replace(
        before, approval=Approval("local:ana", START, "The errors are fine."), etag=lane.live.etag
    )
    assert lane.changed_rollouts[1] == lane.live
    assert lane.live.etag != before.etag
    assert lane.lane.etag != lane_before.etag
    event = lane.events[-1]
    assert (event.type, event.version, event.rollout) == ("ROLLOUT_APPROVED", "v2", 1)
    assert event.reason == "The errors are fine."


def test_only_what_was_asked_for_is_given_and_only_once() -> None:
    unasked = running_lane(500)
    assert unasked.live is not None
    with pytest.raises(FailedPreconditionError) as caught:
        unasked.approve(unasked.live, "")
    assert caught.value.reason == "APPROVAL_UNASKED"
    lane = held_lane()
    assert lane.live is not None
    lane.approve(lane.live, "")
    with pytest.raises(FailedPreconditionError, match="by local:ana already") as caught:
        lane.approve(lane.live, "")
    assert caught.value.reason == "APPROVAL_GIVEN"


def test_it_may_be_given_while_the_rollout_waits_for_its_turn() -> None:
    lane = running_lane(500)
    lane.add("v3")
    waiting = lane.start("v3", HELD, 2)
    lane.approve(waiting, "")
    assert lane.queued is not None
    assert lane.queued.approval is not None
    assert lane.live is not None
    assert lane.live.number == 1
    lane.rollback(OUTCOME)
    assert (lane.live.number, lane.live.state) == (2, RolloutState.WAITING_READY)
    assert not lane.live.approval_missing


def test_a_stable_version_that_was_never_ready_is_not_replaced_without_a_person() -> None:
    lane = aggregate()
    lane.add("v1")
    lane.establish("v1")
    lane.add("v2")
    rollout = lane.start("v2", HELD, 1)
    ready = [*placed("v1", "w1", state=ServingState.FAILED), *placed("v2", "w1")]
    lane.observe(ready)
    assert lane.lane.stable_version == "v1"
    lane.approve(rollout, "")
    lane.observe(ready)
    assert lane.lane.stable_version == "v2"
