"""Shares, arms and epochs."""

import uuid
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from crossfade.common.v1 import policy_pb2
from crossfade.connection import MESSAGE_LIMIT
from registry.converters import signature_to_proto
from registry.domain.lane import MOST_LOADED, Load
from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import Assignment, Step
from registry.domain.routes import LaneRoutes, held_versions, routes_of, split_of
from registry.domain.serving import Placement, Traffic
from registry.domain.split import (
    BUCKETS,
    Split,
    effective_share,
    handover_split,
    shadow_split,
    trial_split,
    whole_split,
)
from registry.domain.states import VersionState
from registry.servicer.policy_validation import SIGNATURE_BYTES
from registry.views import routes_to_proto
from tests.unit.registry.lanes import OUTCOME, START, both, placed, running_lane, spec, stable_lane, version

COUNTS = st.integers(min_value=0, max_value=40)
SHARES = st.integers(min_value=1, max_value=BUCKETS)


def routes(lane: LaneAggregate, placements: list[Placement]) -> LaneRoutes:
    lane.observe(placements)
    lane.resplit(split_of(lane.lane, lane.live, placements))
    held = held_versions(lane.lane, lane.live)
    return routes_of(
        lane.lane,
        lane.live,
        versions={name: version(name) for name in held},
        states={name: one.state for name, one in lane.states.items()},
        failed=("v0",),
        placements=placements,
    )


def shares(found: LaneRoutes) -> dict[str, tuple[str, int]]:
    return {arm.arm: (arm.version, arm.share_bps) for arm in found.arms}


@given(wanted=SHARES, ready=COUNTS, stable=COUNTS)
def test_effective_share_is_what_workers_carry(wanted: int, ready: int, stable: int) -> None:
    share = effective_share(wanted, ready=ready, stable_ready=stable)
    assert 0 <= share <= wanted
    assert (share == 0) == (ready == 0 or (stable > 0 and BUCKETS * ready < stable))
    if stable:
        assert share * stable <= BUCKETS * ready
    if ready >= stable and ready:
        assert share == wanted


@given(wanted=SHARES, ready=COUNTS, stable=COUNTS)
def test_shares_add_up(wanted: int, ready: int, stable: int) -> None:
    placements = [
        *placed("v1", *(f"w{number}" for number in range(stable))),
        *placed("v2", *(f"w{number}" for number in range(ready))),
    ]
    split = trial_split("v1", "v2", wanted, placements)
    assert split.test_bps + split.control_bps + split.stable_bps == BUCKETS
    assert split.control_bps == min(split.test_bps, BUCKETS - split.test_bps)
    over = handover_split("v2", "v1", placements)
    assert over.test_bps + over.control_bps + over.stable_bps == BUCKETS
    assert (over == whole_split("v2")) == (stable == 0 or ready >= stable)


def test_nothing_is_split_without_a_stable_version() -> None:
    assert whole_split("") == Split()


def test_a_version_that_no_worker_has_splits_nothing() -> None:
    ready = placed("v1", "w1")
    assert trial_split("v1", "v2", 500, ready) == shadow_split("v1", "v2", 500, ready) == whole_split("v1")


def test_the_smallest_share_is_one_basis_point() -> None:
    assert trial_split("v1", "v2", 1, both()) == Split("v2", 1, "v1", 1, "v1", BUCKETS - 2)


def test_arms_of_a_trial() -> None:
    lane = running_lane(500)
    found = routes(lane, both())
    assert shares(found) == {"test": ("v2", 500), "control": ("v1", 500), "stable": ("v1", 9000)}
    assert {arm.arm: [one.address for one in arm.endpoints] for arm in found.arms} == {
        "test": ["w1.v2.live:1"],
        "control": ["w1.v1.control:1"],
        "stable": ["w1.v1.live:1"],
    }
    assert [(one.version.version, one.traffic) for one in found.wanted] == [
        ("v1", (Traffic.LIVE, Traffic.CONTROL)),
        ("v2", (Traffic.LIVE,)),
    ]
    assert (found.model, found.segment, found.stable_version, found.test_version) == ("m", "", "v1", "v2")
    assert (found.rollout, routes(stable_lane(), both()).rollout) == (1, 0)
    assert found.failed_versions == ("v0",)
    assert found.slice_seconds == 300.0


def test_stable_keeps_its_arm_without_a_share() -> None:
    lane = running_lane(5000)
    found = routes(lane, both())
    assert shares(found) == {"test": ("v2", 5000), "control": ("v1", 5000), "stable": ("v1", 0)}
    assert found.arms[-1].endpoints


def test_key_assignment_and_slices_come_from_the_rollout() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.start("v2", spec(500, assignment=Assignment.KEY, period=120.0), 1)
    lane.observe(both())
    found = routes(lane, both())
    assert (found.assignment, found.slice_seconds) == (Assignment.KEY, 10.0)


def test_waiting_rollout_is_held_by_workers_and_gets_nothing() -> None:
    lane = stable_lane()
    lane.add("v2")
    lane.start("v2", spec(500), 1)
    found = routes(lane, placed("v1", "w1"))
    assert shares(found) == {"stable": ("v1", BUCKETS)}
    assert [one.version.version for one in found.wanted] == ["v1", "v2"]
    assert (found.assignment, found.bucket_offset) == (Assignment.REQUEST, 0)


def test_offset_wraps() -> None:
    lane = running_lane(6000)
    routes(lane, both())
    lane.rollback(OUTCOME)
    lane.add("v3")
    lane.start("v3", spec(6000), 2)
    placements = [*both(), *placed("v3", "w1")]
    lane.observe(placements)
    found = routes(lane, placements)
    assert (found.bucket_offset, shares(found)["test"]) == (6000, ("v3", 6000))
    lane.rollback(OUTCOME)
    assert lane.lane.next_offset == 2000


def test_epoch_goes_up_with_the_split_alone() -> None:
    lane = running_lane(500, 5000)
    first = routes(lane, both()).epoch
    more = [*both(), *placed("v1", "w2"), *placed("v2", "w2")]
    assert routes(lane, more).epoch == first
    lane.advance(OUTCOME, more, force=False)
    assert routes(lane, more).epoch == first + 1
    # One of two Workers has the test version: the same number as wanted, so nothing changes.
    half = [one for one in more if not (one.instance_id == "w2" and one.serving.version == "v2")]
    assert routes(lane, half).epoch == first + 1
    third = [*half, *placed("v1", "w3")]
    found = routes(lane, third)
    assert (found.epoch, shares(found)["test"]) == (first + 2, ("v2", 3333))
    lane.rollback(OUTCOME)
    assert routes(lane, third).epoch == first + 3


def test_the_length_of_slices_changes_with_the_epoch_alone() -> None:
    lane = stable_lane()
    assert routes(lane, placed("v1", "w1")).slice_seconds == 300.0
    lane.add("v2")
    plan = (Step(500, 0.0, 600.0), Step(500, 0.0, 86_400.0), Step(1000, 0.0, 1200.0))
    lane.start("v2", replace(spec(), plan=plan), 1)
    # It waits: the split is that of before, and so are the slices.
    assert routes(lane, placed("v1", "w1")).slice_seconds == 300.0
    lane.observe(both())
    first = routes(lane, both())
    assert first.slice_seconds == 50.0
    lane.advance(OUTCOME, both(), force=False)
    second = routes(lane, both())
    assert (second.epoch, second.slice_seconds) == (first.epoch, 50.0)
    lane.advance(OUTCOME, both(), force=False)
    third = routes(lane, both())
    assert (third.epoch, third.slice_seconds) == (first.epoch + 1, 100.0)


def test_old_stable_carries_what_the_new_one_cannot() -> None:
    lane = running_lane(500)
    placements = [*both(), *placed("v1", "w2", "w3", "w4")]
    offset = lane.lane.handover_offset
    lane.promote(OUTCOME, placements, force=True)
    found = routes(lane, placements)
    assert shares(found) == {"test": ("v2", 2500), "stable": ("v1", 7500)}
    assert (found.stable_version, found.previous_version, found.test_version) == ("v2", "v1", "")
    # No key changes between the versions meanwhile, whatever the rollout went by.
    assert (found.bucket_offset, found.assignment) == (offset, Assignment.KEY)
    ready = [*placements, *placed("v2", "w2", "w3", "w4")]
    assert shares(routes(lane, ready)) == {"stable": ("v2", BUCKETS)}
    assert lane.lane.handover_version == ""
    # Once it carries everything, the old one gets nothing back by a Worker's absence.
    assert shares(routes(lane, placements)) == {"stable": ("v2", BUCKETS)}


def test_a_rollout_that_waits_while_old_stable_still_helps_changes_no_key() -> None:
    lane = running_lane(500, assignment=Assignment.KEY)
    placements = [*both(), *placed("v1", "w2", "w3", "w4")]
    lane.promote(OUTCOME, placements, force=True)
    helped = routes(lane, placements)
    lane.add("v3")
    lane.start("v3", spec(assignment=Assignment.REQUEST), 2)
    waits = routes(lane, placements)
    assert shares(waits) == shares(helped) == {"test": ("v2", 2500), "stable": ("v1", 7500)}
    assert (waits.bucket_offset, waits.assignment) == (helped.bucket_offset, Assignment.KEY)


def test_handover_with_no_worker_ready_leaves_all_with_the_old_one() -> None:
    lane = running_lane(500)
    lane.promote(OUTCOME, placed("v1", "w1"), force=True)
    found = routes(lane, placed("v1", "w1"))
    assert shares(found) == {"stable": ("v1", BUCKETS)}
    assert lane.lane.handover_version == "v1"
    assert shares(routes(lane, both())) == {"stable": ("v2", BUCKETS)}


def test_in_a_shadow_step_control_answers_what_the_test_version_gets_a_copy_of() -> None:
    lane = running_lane(500)
    assert lane.live is not None
    shadow, live = Step(2000, 0.0, 600.0, shadow=True), Step(500, 0.0, 600.0)
    lane.live = replace(lane.live, spec=replace(lane.live.spec, plan=(shadow, live)))
    found = routes(lane, both())
    assert shares(found) == {"control": ("v1", 2000), "stable": ("v1", 8000)}
    assert found.shadow is not None
    assert (found.shadow.version, found.shadow.share_bps) == ("v2", 2000)
    assert [one.address for one in found.shadow.endpoints] == ["w1.v2.live:1"]
    assert lane.live.effective_share_bps == 0
    before = lane.lane.epoch
    lane.advance(OUTCOME, both(), force=False)
    assert lane.live.note == "v2 gets 5 % (step 2 of 2)."
    after = routes(lane, both())
    assert after.shadow is None
    assert shares(after) == {"test": ("v2", 500), "control": ("v1", 500), "stable": ("v1", 9000)}
    assert lane.lane.epoch == before + 1


def test_a_lane_without_a_rollout_asks_for_no_keys() -> None:
    found = routes(stable_lane(), both())
    assert (found.assignment, found.bucket_offset) == (Assignment.REQUEST, 0)


def test_nothing_is_mirrored_to_a_version_that_no_worker_has() -> None:
    lane = running_lane(500)
    assert lane.live is not None
    lane.live = replace(lane.live, spec=replace(lane.live.spec, plan=(Step(2000, 0.0, 600.0, shadow=True),)))
    found = routes(lane, placed("v1", "w1"))
    assert found.shadow is None
    assert shares(found) == {"stable": ("v1", 10_000)}


def test_what_a_version_gets_is_said() -> None:
    assert Step(2000, 0.0, 1.0, shadow=True).words("v2") == "v2 gets a copy of 20 %"
    assert Step(500, 0.0, 1.0).words("v2") == "v2 gets 5 %"


def test_routers_are_told_which_callers_gates_watch() -> None:
    lane = running_lane(500)
    assert lane.live is not None
    errors = policy_pb2.METRIC_ERRORS
    gates = [policy_pb2.Gate(metric=errors, segment=name) for name in ("us", "", "eu", "us")]
    policy = policy_pb2.Policy(gates=gates).SerializeToString()
    lane.live = replace(lane.live, spec=replace(lane.live.spec, policy=policy))
    assert list(routes_to_proto(routes(lane, both())).watched_segments) == ["eu", "us"]
    assert not routes_to_proto(routes(stable_lane(), both())).watched_segments


def test_the_largest_lane_fits_into_a_message() -> None:
    lane = running_lane(500)
    loaded = tuple(Load(f"l{number}", START) for number in range(MOST_LOADED))
    full = replace(lane.lane, previous_version="v0", loaded=loaded)
    held = held_versions(full, lane.live)
    assert len(held) == 3 + MOST_LOADED
    signature = version("v1").signature
    room = SIGNATURE_BYTES - signature_to_proto(signature).ByteSize() - 10
    large = replace(signature, classes=(*signature.classes, "x" * room))
    assert signature_to_proto(large).ByteSize() <= SIGNATURE_BYTES
    workers = [str(uuid.UUID(int=number)) for number in range(1000)]
    found = routes_of(
        full,
        lane.live,
        versions={name: replace(version(name), signature=large) for name in held},
        states=dict.fromkeys(held, VersionState.PENDING),
        failed=(),
        placements=[one for name in held for one in placed(name, *workers)],
    )
    assert 8 * room < routes_to_proto(found).ByteSize() < MESSAGE_LIMIT * 0.75
