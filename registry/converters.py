"""Proto <-> domain, for the servicer and for what the database keeps serialized."""

from collections.abc import Iterable

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import Message

from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.domain.records import (
    Artifact,
    Assignment,
    Objective,
    Outcome,
    Signature,
    Spec,
    Step,
    TensorSpec,
)
from registry.domain.states import VersionState

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


def seconds_since_1970(value: timestamp_pb2.Timestamp) -> float:
    """A moment, from the wire."""
    return value.seconds + value.nanos / 1e9


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
        parts=signature.parts,
        state=signature.state,
    )


def signature_from_proto(message: model_pb2.Signature) -> Signature:
    """A signature from the wire."""
    return Signature(
        inputs=tuple(TensorSpec(s.name, s.datatype, tuple(s.shape)) for s in message.inputs),
        outputs=tuple(TensorSpec(s.name, s.datatype, tuple(s.shape)) for s in message.outputs),
        task=message.task,
        classes=tuple(message.classes),
        positive_class=message.positive_class,
        parts=tuple(message.parts),
        state=tuple(message.state),
    )


def plan_to_proto(plan: Iterable[Step]) -> policy_pb2.TrafficPlan:
    """A traffic plan on the wire."""
    return policy_pb2.TrafficPlan(
        steps=[
            policy_pb2.Step(
                mode=policy_pb2.MODE_SHADOW if step.shadow else policy_pb2.MODE_LIVE,
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
            shadow=step.mode == policy_pb2.MODE_SHADOW,
        )
        for step in message.steps
    )


def assignment_from_proto(value: policy_pb2.Assignment.ValueType) -> Assignment:
    """An assignment from the wire; the default is REQUEST."""
    return Assignment.KEY if value == policy_pb2.ASSIGNMENT_KEY else Assignment.REQUEST


def objective_from_proto(value: policy_pb2.Objective.ValueType) -> Objective:
    """An objective from the wire; the default is NON_INFERIOR."""
    return Objective.SUPERIOR if value == policy_pb2.OBJECTIVE_SUPERIOR else Objective.NON_INFERIOR


def assignment_to_proto(value: Assignment) -> policy_pb2.Assignment.ValueType:
    """An assignment on the wire."""
    return policy_pb2.Assignment.Value(f"ASSIGNMENT_{value}")


def spec_from_proto(message: service_pb2.RolloutSpec) -> Spec:
    """How a rollout is to be done, from the wire."""
    return Spec(
        plan_from_proto(message.plan),
        pack(message.policy),
        objective_from_proto(message.objective),
        assignment_from_proto(message.assignment),
        approval_required=message.approval_required,
        watched=watched_segments(message.policy),
    )


def watched_segments(policy: policy_pb2.Policy) -> tuple[str, ...]:
    """The segments of callers that gates of a policy watch by themselves."""
    return tuple(sorted({gate.segment for gate in policy.gates if gate.segment}))


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
