"""Proto <-> domain, for the servicer and for what the database keeps serialized."""

from collections.abc import Iterable

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import Message

from crossfade import names
from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.domain import VersionState
from registry.domain_lane import Lane
from registry.domain_ledger import Event
from registry.domain_records import (
    Artifact,
    Assignment,
    Model,
    Objective,
    Outcome,
    Rollout,
    Signature,
    Spec,
    Step,
    TensorSpec,
    Version,
    VersionInLane,
)
from registry.domain_routes import Endpoint, LaneRoutes
from registry.domain_serving import Instance, Placement, Serving, ServingState, Traffic

DEFAULT_SHARE_BPS = 500
DEFAULT_PERIOD_SECONDS = 3600.0


def pack(message: Message) -> bytes:
    """Serialized so that equal messages give equal bytes within one build."""
    return bytes(message.SerializeToString(deterministic=True))


def timestamp(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    """A moment in whole microseconds, where there is one."""
    return None if seconds is None else moment(seconds)


def moment(seconds: float) -> timestamp_pb2.Timestamp:
    """A moment, in whole microseconds."""
    made = timestamp_pb2.Timestamp()
    made.FromMicroseconds(round(seconds * 1e6))
    return made


def duration(seconds: float) -> duration_pb2.Duration:
    """A length of time, in whole microseconds."""
    made = duration_pb2.Duration()
    made.FromMicroseconds(round(seconds * 1e6))
    return made


def seconds_of(value: duration_pb2.Duration) -> float:
    """Seconds of a duration."""
    return value.seconds + value.nanos / 1e9


def version_state(state: VersionState) -> resources_pb2.VersionState.ValueType:
    """A version's state on the wire."""
    return resources_pb2.VersionState.Value(f"VERSION_STATE_{state}")


def artifact_to_proto(artifact: Artifact) -> model_pb2.Artifact:
    """An artifact on the wire."""
    return model_pb2.Artifact(uri=artifact.uri, digest=artifact.digest, size_bytes=artifact.size_bytes)


def artifact_from_proto(message: model_pb2.Artifact) -> Artifact:
    """An artifact from the wire."""
    return Artifact(message.uri, message.digest, message.size_bytes)


def signature_to_proto(signature: Signature) -> model_pb2.Signature:
    """A signature on the wire."""
    return model_pb2.Signature(
        inputs=[model_pb2.TensorSpec(name=s.name, datatype=s.datatype, shape=s.shape) for s in signature.inputs],
        outputs=[model_pb2.TensorSpec(name=s.name, datatype=s.datatype, shape=s.shape) for s in signature.outputs],
        task=signature.task,
        classes=signature.classes,
        positive_class=signature.positive_class,
    )


def signature_from_proto(message: model_pb2.Signature) -> Signature:
    """A signature from the wire."""
    return Signature(
        inputs=tuple(TensorSpec(s.name, s.datatype, tuple(s.shape)) for s in message.inputs),
        outputs=tuple(TensorSpec(s.name, s.datatype, tuple(s.shape)) for s in message.outputs),
        task=message.task,
        classes=tuple(message.classes),
        positive_class=message.positive_class,
    )


def plan_to_proto(plan: Iterable[Step]) -> policy_pb2.TrafficPlan:
    """A traffic plan on the wire."""
    return policy_pb2.TrafficPlan(
        steps=[
            policy_pb2.Step(
                mode=policy_pb2.MODE_LIVE,
                share_bps=step.share_bps,
                min_duration=duration(step.min_seconds),
                period=duration(step.period_seconds),
            )
            for step in plan
        ]
    )


def plan_from_proto(message: policy_pb2.TrafficPlan) -> tuple[Step, ...]:
    """A traffic plan from the wire, its defaults filled in."""
    if not message.steps:
        return (Step(DEFAULT_SHARE_BPS, 0.0, DEFAULT_PERIOD_SECONDS),)
    return tuple(
        Step(
            share_bps=step.share_bps,
            min_seconds=seconds_of(step.min_duration),
            period_seconds=seconds_of(step.period) if step.HasField("period") else DEFAULT_PERIOD_SECONDS,
        )
        for step in message.steps
    )


def assignment_from_proto(value: policy_pb2.Assignment.ValueType) -> Assignment:
    """An assignment from the wire; the default is REQUEST."""
    return Assignment.KEY if value == policy_pb2.ASSIGNMENT_KEY else Assignment.REQUEST


def assignment_to_proto(value: Assignment) -> policy_pb2.Assignment.ValueType:
    """An assignment on the wire."""
    return policy_pb2.Assignment.Value(f"ASSIGNMENT_{value}")


def spec_from_proto(message: service_pb2.RolloutSpec) -> Spec:
    """How a rollout is to be done, from the wire."""
    return Spec(
        plan_from_proto(message.plan),
        pack(message.policy),
        Objective.NON_INFERIOR,
        assignment_from_proto(message.assignment),
    )


def outcome_to_proto(outcome: Outcome) -> resources_pb2.Outcome:
    """An outcome on the wire."""
    return resources_pb2.Outcome(
        reason=outcome.reason,
        code=outcome.code,
        gate=outcome.gate,
        summary=analysis_pb2.Summary.FromString(outcome.summary) if outcome.summary else None,
        trace_ids=outcome.trace_ids,
        actor=outcome.actor,
        analysis_sequence=outcome.analysis_sequence,
    )


def outcome_from_proto(message: resources_pb2.Outcome) -> Outcome:
    """An outcome from the wire."""
    return Outcome(
        reason=message.reason,
        code=message.code,
        gate=message.gate,
        summary=pack(message.summary) if message.HasField("summary") else b"",
        trace_ids=tuple(message.trace_ids),
        actor=message.actor,
        analysis_sequence=message.analysis_sequence,
    )


def lane_to_proto(lane: Lane, states: Iterable[VersionInLane]) -> resources_pb2.Lane:
    """A lane on the wire."""
    return resources_pb2.Lane(
        segment=lane.segment,
        stable_version=lane.stable_version,
        previous_version=lane.previous_version,
        rollout=names.rollout_name(lane.model, lane.live) if lane.live else "",
        epoch=lane.epoch,
        stable_since=timestamp(lane.stable_since),
        versions=[
            resources_pb2.LaneVersion(
                version=one.version, state=version_state(one.state), state_time=timestamp(one.since)
            )
            for one in states
        ],
        etag=lane.etag,
    )


def model_to_proto(model: Model, lanes: Iterable[resources_pb2.Lane]) -> resources_pb2.Model:
    """A model on the wire."""
    return resources_pb2.Model(
        name=names.model_name(model.model),
        description=model.description,
        lanes=lanes,
        create_time=timestamp(model.created),
        etag=model.etag,
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
    )


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
    return Serving(
        model=message.model,
        version=message.version,
        traffic=Traffic.CONTROL if message.traffic == model_pb2.TRAFFIC_CONTROL else Traffic.LIVE,
        address=message.address,
        state=ServingState(resources_pb2.ServingState.Name(message.state).removeprefix("SERVING_STATE_")),
        error=message.error,
        error_code=message.error_code,
        load_report=pack(message.load_report) if message.HasField("load_report") else b"",
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


def routes_to_proto(routes: LaneRoutes) -> resources_pb2.LaneRoutes:
    """A lane's routes on the wire."""
    return resources_pb2.LaneRoutes(
        model=routes.model,
        segment=routes.segment,
        epoch=routes.epoch,
        slice_seconds=routes.slice_seconds,
        assignment=assignment_to_proto(routes.assignment),
        bucket_offset=routes.bucket_offset,
        arms=[
            resources_pb2.RouteArm(
                arm=arm.arm, version=arm.version, share_bps=arm.share_bps, endpoints=_endpoints(arm.endpoints)
            )
            for arm in routes.arms
        ],
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
    )


def _endpoints(endpoints: Iterable[Endpoint]) -> list[resources_pb2.Endpoint]:
    return [resources_pb2.Endpoint(instance_id=one.instance_id, address=one.address) for one in endpoints]
