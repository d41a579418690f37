"""The lane as a whole: how rollouts begin, wait and follow each other."""

from copy import deepcopy
from dataclasses import replace

from registry.domain.records import PauseReason
from registry.domain.routes import split_of
from registry.domain.serving import ServingState, Traffic
from registry.domain.states import RolloutState
from tests.unit.registry.lanes import (
    OUTCOME,
    START,
    aggregate,
    both,
    placed,
    running_lane,
    spec,
    stable_lane,
    states,
    types,
)


def test_what_begins_is_told_and_by_whom_it_was_wanted_is_kept() -> None:
    lane = stable_lane()
    lane.add("v2")
    rollout = lane.start("v2", spec(500), 1)
    assert (rollout.created, rollout.creator) == (START, "local:ana")
    assert (rollout.step, rollout.bucket_offset, rollout.effective_share_bps, rollout.analysis_sequence) == (0, 0, 0, 0)
    assert [(event.type, event.version, event.rollout, event.reason) for event in lane.events] == [
        ("VERSION_STABLE", "v1", 0, "v1 is the lane's first version."),
        ("ROLLOUT_STARTED", "v2", 1, "v2 waits until a Worker has loaded and verified it."),
    ]


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
    assert (lane.lane.stable_version, lane.lane.stable_since, lane.lane.stable_seen) == ("v2", START, True)
    assert lane.lane.previous_version == "v1"
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
    fourth = lane.start("v4", spec(500), 3)
    assert fourth.note == (
        "v4 waits for rollout 1 (v2, 50 %) and starts by itself. Rollout 2 (v3), which waited before it, is CANCELLED."
    )
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


def test_what_waits_is_known_to_the_lane_and_told() -> None:
    lane = running_lane(500)
    lane.add("v3")
    waiting = lane.start("v3", spec(500), 2)
    assert (lane.lane.live, lane.lane.queued) == (1, 2)
    assert lane.live is not None
    assert waiting.etag not in ("", lane.live.etag)
    event = lane.events[-1]
    assert (event.type, event.version, event.rollout, event.reason) == ("ROLLOUT_QUEUED", "v3", 2, waiting.note)


def test_what_waited_begins_by_itself_and_the_registry_says_so() -> None:
    lane = running_lane(500)
    lane.add("v3")
    lane.start("v3", spec(500), 2)
    lane.rollback(replace(OUTCOME, actor="evaluator"))
    ended, begun = lane.events[-2:]
    assert (ended.type, ended.rollout, ended.actor) == ("ROLLOUT_ROLLED_BACK", 1, "evaluator")
    assert (begun.type, begun.rollout, begun.actor) == ("ROLLOUT_STARTED", 2, "registry")
    assert begun.reason == "rollout 1 (v2) has ended; v3 waits until a Worker has loaded and verified it."


def test_what_waited_is_compared_with_what_is_stable_by_then() -> None:
    lane = running_lane(500)
    lane.add("v3")
    waiting = lane.start("v3", spec(500), 2)
    lane.promote(OUTCOME, both(), force=False)
    assert lane.live is not None
    assert (lane.live.number, lane.live.stable_version) == (2, "v2")
    assert lane.live.etag != waiting.etag


def test_a_rollout_is_found_by_its_number_whether_it_is_live_waits_or_has_just_ended() -> None:
    lane = running_lane(500)
    lane.add("v3")
    lane.start("v3", spec(500), 2)
    assert (lane.of(1), lane.of(2), lane.of(3)) == (lane.live, lane.queued, None)
    lane.rollback(OUTCOME)
    assert (lane.of(1), lane.of(2)) == (lane.changed_rollouts[1], lane.live)


def test_an_ended_rollout_has_no_share_and_is_not_paused_any_more() -> None:
    lane = running_lane(500)
    lane.resplit(split_of(lane.lane, lane.live, both()))
    lane.pause("Let me look.", PauseReason.PERSON)
    assert lane.live is not None
    assert lane.live.effective_share_bps == 500
    etag = lane.live.etag
    lane.rollback(OUTCOME)
    ended = lane.changed_rollouts[1]
    assert (ended.ended, ended.paused, ended.pause_reason, ended.effective_share_bps) == (START, None, None, 0)
    assert (ended.outcome, ended.note) == (OUTCOME, OUTCOME.reason)
    assert ended.etag != etag
    assert lane.lane.live == 0


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
    before = lane.lane.etag
    lane.pause("", PauseReason.PERSON)
    assert lane.lane.etag != before
