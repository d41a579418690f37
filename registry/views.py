"""What is answered: domain -> proto, for the servicer and for the routes that the database keeps serialized."""

from collections.abc import Iterable
from typing import Final

from crossfade import names
from crossfade.common.v1 import model_pb2, policy_pb2
from crossfade.enum_names import enum_name
from crossfade.registry.v1 import resources_pb2
from registry.cleaning import clean
from registry.converters import (
    artifact_to_proto,
    assignment_to_proto,
    duration,
    outcome_to_proto,
    pack,
    plan_to_proto,
    signature_to_proto,
    timestamp,
    version_state,
    watched_segments,
)
from registry.domain.history import PastLane
from registry.domain.lane import Lane
from registry.domain.ledger import Event
from registry.domain.records import Model, Rollout, Version, VersionInLane
from registry.domain.routes import Arm, Endpoint, LaneRoutes
from registry.domain.serving import Instance, Placement, Serving, ServingState, Traffic
from registry.domain.states import VersionState
from services.common.text import fitting

_ERROR_KEPT: Final = 2_000
"""Characters of an error that are kept: it is shown in lists of many, and in reasons, which have 4,000 at most."""


def lane_to_proto(lane: Lane, states: Iterable[VersionInLane]) -> resources_pb2.Lane:
    """A lane on the wire."""
    return resources_pb2.Lane(
        segment=lane.segment,
        stable_version=lane.stable_version,
        previous_version=lane.previous_version,
        rollout=names.rollout_name(lane.model, lane.live) if lane.live else "",
        epoch=lane.epoch,
        slice_seconds=lane.slice_seconds,
        loaded=[
            resources_pb2.LoadedVersion(version=load.version, expire_time=timestamp(load.until)) for load in lane.loaded
        ],
        stable_since=timestamp(lane.stable_since),
        versions=[lane_version_to_proto(one) for one in states],
        etag=lane.etag,
        test_share_bps=lane.split.test_bps,
        control_share_bps=lane.split.control_bps,
    )


def past_lane_to_proto(model: str, lane: PastLane) -> resources_pb2.Lane:
    """A lane as it was, on the wire."""
    return resources_pb2.Lane(
        segment=lane.segment,
        stable_version=lane.stable_version,
        stable_since=timestamp(lane.stable_since),
        rollout=names.rollout_name(model, lane.rollout) if lane.rollout else "",
        versions=[lane_version_to_proto(one) for one in lane.states],
    )


def lane_version_to_proto(one: VersionInLane) -> resources_pb2.LaneVersion:
    """A version's state in a lane, on the wire."""
    return resources_pb2.LaneVersion(
        version=one.version, state=version_state(one.state), state_time=timestamp(one.since)
    )


def model_to_proto(model: Model, lanes: Iterable[resources_pb2.Lane]) -> resources_pb2.Model:
    """A model on the wire."""
    return resources_pb2.Model(
        name=names.model_name(model.model),
        description=model.description,
        lanes=lanes,
        create_time=timestamp(model.created),
        etag=model.etag,
        event_sequence=model.event_sequence,
        event_hash=model.event_hash,
        compacted_sequence=model.compacted_sequence,
        compacted_hash=model.compacted_hash,
    )


def version_to_proto(
    version: Version, states: Iterable[tuple[str, VersionState]], placements: Iterable[Placement] = ()
) -> resources_pb2.Version:
    """A version on the wire."""
    return resources_pb2.Version(
        name=names.version_name(version.model, version.version),
        artifact=artifact_to_proto(version.artifact),
        signature=signature_to_proto(version.signature),
        description=version.description,
        states=[
            resources_pb2.VersionLaneState(segment=segment, state=version_state(state)) for segment, state in states
        ],
        create_time=timestamp(version.created),
        creator=version.creator,
        readiness=[
            resources_pb2.Readiness(instance_id=one.instance_id, serving=serving_to_proto(one.serving))
            for one in placements
        ],
    )


def rollout_to_proto(rollout: Rollout) -> resources_pb2.Rollout:
    """A rollout on the wire."""
    paused = rollout.pause_reason
    return resources_pb2.Rollout(
        name=names.rollout_name(rollout.model, rollout.number),
        segment=rollout.segment,
        version=rollout.version,
        stable_version=rollout.stable_version,
        state=resources_pb2.RolloutState.Value(f"ROLLOUT_STATE_{rollout.state}"),
        plan=plan_to_proto(rollout.spec.plan),
        step=rollout.step,
        step_start_time=timestamp(rollout.step_started),
        step_paused=duration(rollout.step_paused),
        pause_time=timestamp(rollout.paused),
        pause_reason=resources_pb2.PauseReason.Value(f"PAUSE_REASON_{paused or 'UNSPECIFIED'}"),
        objective=policy_pb2.Objective.Value(f"OBJECTIVE_{rollout.spec.objective}"),
        assignment=assignment_to_proto(rollout.spec.assignment),
        policy=policy_pb2.Policy.FromString(rollout.spec.policy),
        bucket_offset=rollout.bucket_offset,
        effective_share_bps=rollout.effective_share_bps,
        analysis_sequence=rollout.analysis_sequence,
        create_time=timestamp(rollout.created),
        start_time=timestamp(rollout.started),
        end_time=timestamp(rollout.ended),
        creator=rollout.creator,
        note=rollout.note,
        outcome=outcome_to_proto(rollout.outcome) if rollout.outcome is not None else None,
        etag=rollout.etag,
        approval=_approval(rollout),
    )


def _approval(rollout: Rollout) -> resources_pb2.Approval | None:
    given = rollout.approval
    if given is not None:
        return resources_pb2.Approval(actor=given.actor, time=timestamp(given.time), reason=given.reason)
    return resources_pb2.Approval() if rollout.spec.approval_required else None


def event_to_proto(event: Event) -> resources_pb2.Event:
    """An event on the wire."""
    draft = event.draft
    return resources_pb2.Event(
        sequence=event.sequence,
        model=event.model,
        segment=draft.segment,
        version=draft.version,
        rollout=names.rollout_name(event.model, draft.rollout) if draft.rollout else "",
        type=draft.type,
        time=timestamp(event.time),
        actor=event.actor,
        reason=draft.reason,
        revision=event.revision,
        outcome=outcome_to_proto(draft.outcome) if draft.outcome is not None else None,
        hash=event.hash,
        previous_hash=event.previous_hash,
    )


def serving_from_proto(message: resources_pb2.Serving) -> Serving:
    """What a Worker reports of one version."""
    report = resources_pb2.LoadReport()
    if message.HasField("load_report"):
        report.CopyFrom(message.load_report)
        clean(report)
    return Serving(
        model=message.model,
        version=message.version,
        traffic=Traffic.CONTROL if message.traffic == model_pb2.TRAFFIC_CONTROL else Traffic.LIVE,
        address=message.address,
        state=ServingState(enum_name(resources_pb2.ServingState.DESCRIPTOR, message.state)),
        error=fitting(message.error, _ERROR_KEPT),
        error_code=fitting(message.error_code, _ERROR_KEPT),
        load_report=pack(report) if message.HasField("load_report") else b"",
    )


def serving_to_proto(serving: Serving) -> resources_pb2.Serving:
    """What a Worker reported of one version."""
    report = resources_pb2.LoadReport.FromString(serving.load_report) if serving.load_report else None
    return resources_pb2.Serving(
        model=serving.model,
        version=serving.version,
        traffic=model_pb2.Traffic.Value(f"TRAFFIC_{serving.traffic}"),
        address=serving.address,
        state=resources_pb2.ServingState.Value(f"SERVING_STATE_{serving.state}"),
        error=serving.error,
        error_code=serving.error_code,
        load_report=report,
    )


def instance_to_proto(instance: Instance, placements: Iterable[Placement]) -> resources_pb2.Instance:
    """An instance on the wire."""
    return resources_pb2.Instance(
        instance_id=instance.instance_id,
        kind=resources_pb2.InstanceKind.Value(f"INSTANCE_KIND_{instance.kind}"),
        address=instance.address,
        serving=[serving_to_proto(one.serving) for one in placements],
        report_time=timestamp(instance.reported),
        expire_time=timestamp(instance.expires),
    )


def _arm(arm: Arm) -> resources_pb2.RouteArm:
    return resources_pb2.RouteArm(
        arm=arm.arm, version=arm.version, share_bps=arm.share_bps, endpoints=_endpoints(arm.endpoints)
    )


def routes_to_proto(routes: LaneRoutes) -> resources_pb2.LaneRoutes:
    """A lane's routes on the wire."""
    if routes.removed:
        return resources_pb2.LaneRoutes(model=routes.model, segment=routes.segment, removed=True)
    return resources_pb2.LaneRoutes(
        model=routes.model,
        segment=routes.segment,
        epoch=routes.epoch,
        slice_seconds=routes.slice_seconds,
        assignment=assignment_to_proto(routes.assignment),
        bucket_offset=routes.bucket_offset,
        arms=[_arm(arm) for arm in routes.arms],
        wanted=[
            resources_pb2.WantedVersion(
                version=one.version.version,
                artifact=artifact_to_proto(one.version.artifact),
                signature=signature_to_proto(one.version.signature),
                state=version_state(one.state),
                traffic=[model_pb2.Traffic.Value(f"TRAFFIC_{kind}") for kind in one.traffic],
                endpoints=_endpoints(one.endpoints),
            )
            for one in routes.wanted
        ],
        failed_versions=routes.failed_versions,
        rollout=names.rollout_name(routes.model, routes.rollout) if routes.rollout else "",
        stable_version=routes.stable_version,
        test_version=routes.test_version,
        previous_version=routes.previous_version,
        shadow=None if routes.shadow is None else _arm(routes.shadow),
        watched_segments=watched_segments(policy_pb2.Policy.FromString(routes.policy)),
    )


def _endpoints(endpoints: Iterable[Endpoint]) -> list[resources_pb2.Endpoint]:
    return [resources_pb2.Endpoint(instance_id=one.instance_id, address=one.address) for one in endpoints]
