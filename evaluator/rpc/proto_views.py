"""The Registry's resources as what the Evaluator needs of them."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from crossfade import names
from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2
from evaluator.evidence.state import Look
from evaluator.ports import LaneView, MonitorView, ProcessView, RolloutView, VersionView
from evaluator.rpc import proto_circumstances, proto_counts, proto_summary
from evaluator.terms import Feature, Profile
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decision import Action, Decision, Phase
from evaluator.verdict.readiness import Served, Serving
from evaluator.window.counts import Counts
from services.common import times
from services.common.policy import messages as policy_messages
from services.common.policy.records import Meaning

_SERVING: Final = {
    resources_pb2.SERVING_STATE_LOADING: Serving.LOADING,
    resources_pb2.SERVING_STATE_READY: Serving.READY,
    resources_pb2.SERVING_STATE_FAILED: Serving.FAILED,
    resources_pb2.SERVING_STATE_DRAINING: Serving.DRAINING,
}
_KINDS: Final = frozenset({resources_pb2.INSTANCE_KIND_ROUTER, resources_pb2.INSTANCE_KIND_WORKER})


def rollout(message: resources_pb2.Rollout) -> RolloutView:
    """A rollout."""
    model, _ = names.parse_rollout(message.name)
    return RolloutView(
        name=message.name,
        model=model,
        segment=message.segment,
        test=message.version,
        stable=message.stable_version,
        phase=_phase(message),
        step=message.step,
        step_start=_time(message.step_start_time, present=message.HasField("step_start_time")),
        step_paused=times.seconds(message.step_paused),
        pause_start=_time(message.pause_time, present=message.HasField("pause_time")),
        sticky=message.assignment == policy_pb2.ASSIGNMENT_KEY,
        policy=policy_messages.policy_draft(message.policy),
        plan=policy_messages.plan_draft(message.plan),
        sequence=message.analysis_sequence,
        etag=message.etag,
        approval_missing=message.HasField("approval") and not message.approval.actor,
        objective=policy_messages.objective(message.objective),
        unknown=policy_messages.unknown_fields(message.policy, message.plan),
    )


def lane(message: resources_pb2.Model, segment: str) -> LaneView | None:
    """The lane of a segment; None: there is none."""
    for one in message.lanes:
        if one.segment == segment:
            return _lane(one)
    return None


def lanes(message: resources_pb2.Model) -> list[LaneView]:
    """Every lane of a model."""
    return [_lane(one) for one in message.lanes]


def monitor(message: resources_pb2.Monitor) -> MonitorView:
    """A lane that is watched."""
    return MonitorView(
        off=message.settings.off,
        undo=message.settings.undo,
        learn=times.seconds(message.settings.learn),
        version=message.version,
        sequence=message.sequence,
        record_time=_time(message.record_time, present=message.HasField("record_time")),
        evidence=message.evidence,
        cursor=proto_counts.from_proto(message.cursor),
    )


def version(message: resources_pb2.Version) -> VersionView:
    """A version."""
    said = message.signature
    meaning = Meaning(said.task, tuple(said.classes), said.positive_class)
    return VersionView(meaning, _profile(message.profile) if message.HasField("profile") else None)


def look(message: analysis_pb2.Analysis) -> Look:
    """A recorded look."""
    at = message.summary.circumstances
    return Look(
        sequence=message.sequence,
        epoch=message.epoch,
        slice_seconds=message.slice_seconds,
        step=message.step,
        judged=message.judged,
        window=proto_counts.from_proto(message.window),
        shares=(message.test_share_bps, message.control_share_bps),
        time=_time(at.time, present=at.HasField("time")),
        elapsed=at.elapsed_seconds,
    )


def analysis(
    rollout_name: str, look: Look, policy_hash: str, cursor: Counts, decision: Decision
) -> analysis_pb2.Analysis:
    """A look as it is recorded, with the counts that the next one goes on from: `look` and `concluded` undo it."""
    return analysis_pb2.Analysis(
        rollout=rollout_name,
        sequence=look.sequence,
        epoch=look.epoch,
        slice_seconds=look.slice_seconds,
        test_share_bps=look.shares[0],
        control_share_bps=look.shares[1],
        step=look.step,
        judged=look.judged,
        policy_hash=policy_hash,
        window=proto_counts.to_proto(look.window),
        cursor=proto_counts.to_proto(cursor),
        summary=proto_summary.to_proto(decision),
    )


def concluded(message: analysis_pb2.Analysis) -> Concluded:
    """A recorded look, and what it concluded."""
    summary = message.summary
    action = proto_summary.KNOWN_ACTIONS.get(summary.action, Action.NONE)
    at = proto_circumstances.from_proto(summary)
    return Concluded(look(message), at, action, summary.gate, summary.reason)


def process(message: resources_pb2.Instance) -> ProcessView | None:
    """A Router or a Worker; None: another kind, which counts nothing that is judged."""
    if message.kind not in _KINDS:
        return None
    served = tuple(
        (
            one.model,
            Served(
                version=one.version,
                control=one.traffic == model_pb2.TRAFFIC_CONTROL,
                state=_SERVING[one.state],
                error=one.error,
                error_code=one.error_code,
            ),
        )
        for one in message.serving
        if one.state in _SERVING
    )
    worker = message.kind == resources_pb2.INSTANCE_KIND_WORKER
    return ProcessView(message.instance_id, message.address, worker, served)


def _lane(message: resources_pb2.Lane) -> LaneView:
    return LaneView(
        epoch=message.epoch,
        slice_seconds=message.slice_seconds,
        stable=message.stable_version,
        segment=message.segment,
        rollout=message.rollout,
        previous=message.previous_version,
        etag=message.etag,
        shares=(message.test_share_bps, message.control_share_bps),
    )


def _phase(message: resources_pb2.Rollout) -> Phase | None:
    match message.state:
        case resources_pb2.ROLLOUT_STATE_WAITING_READY:
            return Phase.WAITING
        case resources_pb2.ROLLOUT_STATE_RUNNING:
            return Phase.RUNNING
        case resources_pb2.ROLLOUT_STATE_PAUSED:
            drift = message.pause_reason == resources_pb2.PAUSE_REASON_INPUT_DRIFT
            return Phase.PAUSED_BY_DRIFT if drift else Phase.PAUSED_BY_PERSON
        case _:
            return None


def _profile(message: model_pb2.ReferenceProfile) -> Profile | None:
    features = tuple(
        Feature(feature.feature, tuple(feature.proportions))
        for feature in message.features
        if len(feature.proportions) > 1 and sum(feature.proportions) > 0
    )
    return Profile(message.profile_id, max(1, message.rows), features) if features else None


def _time(message: Timestamp, *, present: bool) -> float:
    return times.unix_seconds(message) if present else 0.0
