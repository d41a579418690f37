"""Rows of the tables as what the domain works with, and back."""

import json
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Row

from crossfade.common.v1 import policy_pb2
from crossfade.registry.v1 import resources_pb2
from registry import converters
from registry.domain.lane import Lane, Load
from registry.domain.records import (
    Approval,
    Assignment,
    Model,
    Objective,
    PauseReason,
    Rollout,
    Spec,
    Step,
    VersionInLane,
)
from registry.domain.serving import Placement, Serving, ServingState, Traffic
from registry.domain.split import Split
from registry.domain.states import RolloutState, VersionState

_READ: Final = 256
"""Plans and policies that are remembered as they were read. A rollout's never change, and to read them took 0.1 ms
of the 2 ms of a transition's processor time."""


def model_of(row: Row[Any]) -> Model:
    """A model."""
    return Model(
        model=row.model,
        description=row.description,
        created=row.created,
        next_version=row.next_version,
        next_rollout=row.next_rollout,
        event_sequence=row.event_sequence,
        event_hash=row.event_hash,
        etag=row.etag,
        compacted_sequence=row.compacted_sequence,
        compacted_hash=row.compacted_hash,
    )


def state_of(row: Row[Any]) -> VersionInLane:
    """A version's state."""
    return VersionInLane(row.version, VersionState(row.state), row.since)


def placement_of(row: Row[Any]) -> Placement:
    """Where a version is served."""
    serving = Serving(
        model=row.model,
        version=row.version,
        traffic=Traffic(row.traffic),
        address=row.address,
        state=ServingState(row.state),
        error=row.error,
        error_code=row.error_code,
        load_report=bytes(row.load_report),
    )
    return Placement(row.instance_id, serving, row.ready, row.since)


def lane_of(row: Row[Any]) -> Lane:
    """A lane."""
    return Lane(
        model=row.model,
        segment=row.segment,
        stable_version=row.stable_version,
        stable_since=row.stable_since,
        stable_seen=row.stable_seen,
        previous_version=row.previous_version,
        handover_version=row.handover_version,
        handover_offset=row.handover_offset,
        live=row.live,
        queued=row.queued,
        epoch=row.epoch,
        slice_seconds=row.slice_seconds,
        split=Split(
            row.test_version,
            row.test_bps,
            row.control_version,
            row.control_bps,
            row.split_version,
            row.split_bps,
        ),
        next_offset=row.next_offset,
        loaded=tuple(Load(version, until) for version, until in json.loads(row.loaded)),
        etag=row.etag,
        removed=row.removed,
    )


def lane_values(lane: Lane) -> dict[str, Any]:
    """A lane's row."""
    return {
        "model": lane.model,
        "segment": lane.segment,
        "stable_version": lane.stable_version,
        "stable_since": lane.stable_since,
        "stable_seen": lane.stable_seen,
        "previous_version": lane.previous_version,
        "handover_version": lane.handover_version,
        "handover_offset": lane.handover_offset,
        "live": lane.live,
        "queued": lane.queued,
        "epoch": lane.epoch,
        "slice_seconds": lane.slice_seconds,
        "test_version": lane.split.test_version,
        "test_bps": lane.split.test_bps,
        "control_version": lane.split.control_version,
        "control_bps": lane.split.control_bps,
        "split_version": lane.split.stable_version,
        "split_bps": lane.split.stable_bps,
        "next_offset": lane.next_offset,
        "loaded": json.dumps([[load.version, load.until] for load in lane.loaded]),
        "loaded_until": min((load.until for load in lane.loaded), default=None),
        "etag": lane.etag,
        "removed": lane.removed,
    }


def rollout_of(row: Row[Any]) -> Rollout:
    """A rollout, without the number of its latest look."""
    outcome = None
    if row.outcome is not None:
        outcome = converters.outcome_from_proto(resources_pb2.Outcome.FromString(row.outcome))
    return Rollout(
        model=row.model,
        number=row.number,
        segment=row.segment,
        version=row.version,
        stable_version=row.stable_version,
        state=RolloutState(row.state),
        spec=Spec(
            _plan(row.plan),
            bytes(row.policy),
            Objective(row.objective),
            Assignment(row.assignment),
            row.allow_incompatible,
            row.approval_required,
            _watched(row.policy),
        ),
        created=row.created,
        creator=row.creator,
        note=row.note,
        etag=row.etag,
        step=row.step,
        step_started=row.step_started,
        step_paused=row.step_paused,
        paused=row.paused,
        pause_reason=None if row.pause_reason is None else PauseReason(row.pause_reason),
        bucket_offset=row.bucket_offset,
        effective_share_bps=row.effective_share_bps,
        started=row.started,
        ended=row.ended,
        outcome=outcome,
        approval=Approval(row.approver, row.approved, row.approval_reason) if row.approver else None,
    )


def rollout_values(rollout: Rollout) -> dict[str, Any]:
    """A rollout's row."""
    return {
        "model": rollout.model,
        "number": rollout.number,
        "segment": rollout.segment,
        "version": rollout.version,
        "plan": converters.pack(converters.plan_to_proto(rollout.spec.plan)),
        "policy": rollout.spec.policy,
        "objective": str(rollout.spec.objective),
        "assignment": str(rollout.spec.assignment),
        "allow_incompatible": rollout.spec.allow_incompatible,
        "approval_required": rollout.spec.approval_required,
        "created": rollout.created,
        "creator": rollout.creator,
        **progress_values(rollout),
    }


def progress_values(rollout: Rollout) -> dict[str, Any]:
    """Of a rollout's row, what changes."""
    outcome, approval = rollout.outcome, rollout.approval
    return {
        "stable_version": rollout.stable_version,
        "state": str(rollout.state),
        "step": rollout.step,
        "step_started": rollout.step_started,
        "step_paused": rollout.step_paused,
        "paused": rollout.paused,
        "pause_reason": None if rollout.pause_reason is None else str(rollout.pause_reason),
        "bucket_offset": rollout.bucket_offset,
        "effective_share_bps": rollout.effective_share_bps,
        "started": rollout.started,
        "ended": rollout.ended,
        "note": rollout.note,
        "outcome": None if outcome is None else converters.pack(converters.outcome_to_proto(outcome)),
        "etag": rollout.etag,
        "approver": "" if approval is None else approval.actor,
        "approved": None if approval is None else approval.time,
        "approval_reason": "" if approval is None else approval.reason,
    }


@lru_cache(maxsize=_READ)
def _plan(plan: bytes) -> tuple[Step, ...]:
    return converters.plan_from_proto(policy_pb2.TrafficPlan.FromString(plan))


@lru_cache(maxsize=_READ)
def _watched(policy: bytes) -> tuple[str, ...]:
    return converters.watched_segments(policy_pb2.Policy.FromString(policy))
