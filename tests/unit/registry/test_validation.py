"""Publications, names and texts that are refused whatever the state, and which field is named."""

import math
import uuid
from collections.abc import Callable

import pytest
from google.protobuf import duration_pb2

from crossfade.common.v1 import model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry import converters
from registry.domain.records import Assignment, Step
from registry.servicer import validation
from registry.servicer.policy_validation import SIGNATURE_BYTES, check_spec
from services.common.errors import InvalidArgumentError


def request() -> service_pb2.PublishVersionRequest:
    tensor = model_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])
    return service_pb2.PublishVersionRequest(
        parent="models/m",
        version=resources_pb2.Version(
            artifact=model_pb2.Artifact(uri="file:///m", digest="sha256:" + "0" * 64, size_bytes=1),
            signature=model_pb2.Signature(inputs=[tensor], outputs=[tensor], task="classification", classes=["a", "b"]),
        ),
        rollout=service_pb2.RolloutSpec(
            plan=policy_pb2.TrafficPlan(steps=[policy_pb2.Step(share_bps=500), policy_pb2.Step(share_bps=5000)]),
            policy=policy_pb2.Policy(
                gates=[
                    policy_pb2.Gate(metric=policy_pb2.METRIC_ERRORS, required=True),
                    policy_pb2.Gate(
                        metric=policy_pb2.METRIC_ACCURACY,
                        harm=policy_pb2.Margin(offset=0.01),
                        safe=policy_pb2.Margin(offset=0.03),
                    ),
                ]
            ),
        ),
    )


def gate(
    request: service_pb2.PublishVersionRequest,
    metric: "policy_pb2.Metric.ValueType",
    safe: policy_pb2.Margin | None,
) -> None:
    """Makes the first gate a required one of another metric."""
    request.rollout.policy.gates[0].CopyFrom(policy_pb2.Gate(metric=metric, required=True, safe=safe))


def seconds(value: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(value), nanos=int((value % 1) * 1e9))


WIDE_HARM = policy_pb2.Gate(metric=policy_pb2.METRIC_ACCURACY, harm=policy_pb2.Margin(offset=0.05))
Change = Callable[[service_pb2.PublishVersionRequest], object]


def _described(text: str) -> Change:
    return lambda r: setattr(r.version, "description", text)


OF_NO_CLASS = policy_pb2.Gate(metric=policy_pb2.METRIC_RECALL, required=True, positive_class="none of them")

WRONG: list[tuple[str, Change]] = [
    ("version.artifact.uri", lambda r: r.version.artifact.ClearField("uri")),
    ("version.artifact.digest", lambda r: setattr(r.version.artifact, "digest", "sha256:ab")),
    ("version.artifact.size_bytes", lambda r: setattr(r.version.artifact, "size_bytes", 0)),
    ("version.signature.inputs", lambda r: r.version.signature.ClearField("inputs")),
    ("version.signature.outputs", lambda r: r.version.signature.ClearField("outputs")),
    ("version.signature.inputs[0].name", lambda r: setattr(r.version.signature.inputs[0], "name", "")),
    ("version.signature.inputs[1].name", lambda r: r.version.signature.inputs.append(r.version.signature.inputs[0])),
    ("version.signature.inputs[0].datatype", lambda r: setattr(r.version.signature.inputs[0], "datatype", "float")),
    ("version.signature.inputs[0].shape", lambda r: r.version.signature.inputs[0].shape.__setitem__(0, 1)),
    ("version.signature.task", lambda r: setattr(r.version.signature, "task", "guess")),
    ("version.signature.classes", lambda r: r.version.signature.classes.append("a")),
    ("version.signature.classes", lambda r: setattr(r.version.signature, "task", "regression")),
    ("version.signature.positive_class", lambda r: setattr(r.version.signature, "positive_class", "c")),
    ("version.signature.parts", lambda r: r.version.signature.parts.append("nothing")),
    ("version.signature.parts", lambda r: r.version.signature.parts.extend([r.version.signature.outputs[0].name] * 2)),
    ("version.signature.state", lambda r: r.version.signature.state.append("nothing")),
    ("version.signature.state", lambda r: r.version.signature.state.append(r.version.signature.inputs[0].name)),
    ("version.description", lambda r: setattr(r.version, "description", "x" * 4001)),
    ("version.description", lambda r: setattr(r.version, "description", "a\0b")),
    ("version.artifact.uri", lambda r: setattr(r.version.artifact, "uri", "file:///\0")),
    ("version.artifact.uri", lambda r: setattr(r.version.artifact, "uri", "https://me:secret@host/v1")),
    ("version.artifact.uri", lambda r: setattr(r.version.artifact, "uri", "https://host/v1?sig=secret")),
    ("version.artifact.uri", lambda r: setattr(r.version.artifact, "uri", "file:///a\nb")),
    ("version.artifact.uri", lambda r: setattr(r.version.artifact, "uri", "file:///\x9b1A")),
    *(("version.description", _described(f"a{control}b")) for control in "\x08\r\x1b\x7f\x85\x9b\u202e\u2066"),
    ("version.signature.classes", lambda r: r.version.signature.classes.append("y\x1b[31mes")),
    ("version.signature.classes", lambda r: r.version.signature.classes.append("x" * 129)),
    ("version.signature.classes", lambda r: r.version.signature.classes.append("")),
    ("version.signature.inputs[0].name", lambda r: setattr(r.version.signature.inputs[0], "name", "x\x1b[2K")),
    ("rollout.policy.gates[0].name", lambda r: setattr(r.rollout.policy.gates[0], "name", "e\x1b[31m")),
    ("rollout.policy.gates[0].name", lambda r: setattr(r.rollout.policy.gates[0], "name", "x" * 64)),
    ("rollout.policy.gates[0].positive_class", lambda r: setattr(r.rollout.policy.gates[0], "positive_class", "\x9b")),
    ("rollout.policy.gates[0].bad_query", lambda r: setattr(r.rollout.policy.gates[0], "bad_query", "x\x1b[31m")),
    ("version.artifact.uri", lambda r: setattr(r.version.artifact, "uri", "file:///" + "x" * 4000)),
    ("version.signature", lambda r: r.version.signature.classes.append("x" * SIGNATURE_BYTES)),
    ("rollout", lambda r: setattr(r, "without_rollout", True)),
    ("rollout.assignment", lambda r: setattr(r.rollout, "assignment", 9)),
    ("rollout.plan.steps[1].mode", lambda r: setattr(r.rollout.plan.steps[1], "mode", policy_pb2.MODE_SHADOW)),
    ("rollout.plan.steps[0].share_bps", lambda r: setattr(r.rollout.plan.steps[0], "share_bps", 0)),
    ("rollout.plan.steps[1].share_bps", lambda r: setattr(r.rollout.plan.steps[1], "share_bps", 10_001)),
    ("rollout.plan.steps[1].share_bps", lambda r: setattr(r.rollout.plan.steps[1], "share_bps", 10_000)),
    ("rollout.plan.steps[1].share_bps", lambda r: setattr(r.rollout.plan.steps[1], "share_bps", 499)),
    ("rollout.plan.steps[0].period", lambda r: r.rollout.plan.steps[0].period.CopyFrom(seconds(0))),
    ("rollout.plan.steps[0].min_duration", lambda r: r.rollout.plan.steps[0].min_duration.FromSeconds(-1)),
    (
        "rollout.plan.steps[0].min_duration",
        lambda r: r.rollout.plan.steps[0].MergeFrom(policy_pb2.Step(period=seconds(10), min_duration=seconds(11))),
    ),
    # Over before anything is judged.
    ("rollout.plan.steps[1].period", lambda r: r.rollout.plan.steps[1].period.CopyFrom(seconds(10))),
    ("rollout.plan.steps[0].period", lambda r: r.rollout.policy.settling.CopyFrom(seconds(3600))),
    ("rollout.policy.gates[0].metric", lambda r: r.rollout.policy.gates[0].ClearField("metric")),
    ("rollout.policy.gates[1].name", lambda r: setattr(r.rollout.policy.gates[1], "name", "errors")),
    ("rollout.policy.gates[0].weight", lambda r: setattr(r.rollout.policy.gates[0], "weight", math.nan)),
    ("rollout.policy.gates[0].harm.factor", lambda r: setattr(r.rollout.policy.gates[0].harm, "factor", 0.5)),
    ("rollout.policy.gates[0].harm.offset", lambda r: setattr(r.rollout.policy.gates[0].harm, "offset", 1.5)),
    ("rollout.policy.gates[0].safe.buckets", lambda r: setattr(r.rollout.policy.gates[0].safe, "buckets", 41)),
    ("rollout.policy.gates", lambda r: setattr(r.rollout.policy.gates[0], "required", False)),
    ("rollout.policy.gates[0].harm.buckets", lambda r: setattr(r.rollout.policy.gates[0].harm, "buckets", 1)),
    ("rollout.policy.gates[0].safe", lambda r: r.rollout.policy.gates[0].safe.CopyFrom(policy_pb2.Margin(factor=1))),
    ("rollout.policy.gates[0].safe", lambda r: gate(r, policy_pb2.METRIC_RUNTIME, policy_pb2.Margin(offset=0.1))),
    ("rollout.policy.gates[0].required", lambda r: gate(r, policy_pb2.METRIC_INPUT_DRIFT, None)),
    ("rollout.policy.gates[1].safe", lambda r: setattr(r.rollout.policy.gates[1].safe, "offset", 0.001)),
    # Wrong only beside a default: the other margin's, the look's interval, the period.
    ("rollout.policy.gates[0].safe", lambda r: gate(r, policy_pb2.METRIC_ERRORS, policy_pb2.Margin(offset=0.01))),
    ("rollout.policy.gates[1].safe", lambda r: r.rollout.policy.gates[1].CopyFrom(WIDE_HARM)),
    ("rollout.policy.stale_after", lambda r: r.rollout.policy.MergeFrom(policy_pb2.Policy(stale_after=seconds(10)))),
    ("rollout.plan.steps[0].min_duration", lambda r: r.rollout.plan.steps[0].min_duration.FromSeconds(7200)),
    ("rollout.policy.gates[0].positive_class", lambda r: r.rollout.policy.gates[0].CopyFrom(OF_NO_CLASS)),
    ("rollout.policy.gates[0].positive_class", lambda r: setattr(r.rollout.policy.gates[0], "positive_class", "a")),
    ("rollout.objective", lambda r: setattr(r.rollout, "objective", 9)),
    ("rollout.plan.steps", lambda r: setattr(r.rollout, "objective", policy_pb2.OBJECTIVE_SUPERIOR)),
    ("rollout.policy.gates[0].limit", lambda r: r.rollout.policy.gates[0].limit.SetInParent()),
    ("rollout.policy.alpha_rollback", lambda r: setattr(r.rollout.policy, "alpha_rollback", 0.6)),
    ("rollout.policy.alpha_promote", lambda r: setattr(r.rollout.policy, "alpha_promote", -0.1)),
    ("rollout.policy.power", lambda r: setattr(r.rollout.policy, "power", 0.3)),
    ("rollout.policy.drift_margin", lambda r: setattr(r.rollout.policy, "drift_margin", math.inf)),
    ("rollout.policy.fresh_instances", lambda r: setattr(r.rollout.policy, "fresh_instances", 2)),
    ("rollout.policy.period_end", lambda r: setattr(r.rollout.policy, "period_end", 17)),
    ("rollout.policy.look_interval", lambda r: r.rollout.policy.look_interval.CopyFrom(seconds(0))),
    ("rollout.policy.stale_after", lambda r: r.rollout.policy.stale_after.CopyFrom(seconds(0))),
    ("rollout.policy.settling", lambda r: r.rollout.policy.settling.FromSeconds(-1)),
    ("rollout.policy.labels.min_coverage", lambda r: setattr(r.rollout.policy.labels, "min_coverage", 1.1)),
    ("rollout.policy.labels.min_age", lambda r: r.rollout.policy.labels.min_age.FromSeconds(-5)),
]


@pytest.mark.parametrize(("field", "change"), WRONG, ids=[f"{n}-{field}" for n, (field, _) in enumerate(WRONG)])
def test_wrong_publications_name_the_field(field: str, change: Change) -> None:
    wrong = request()
    change(wrong)
    with pytest.raises(InvalidArgumentError) as caught:
        validation.publication(wrong)
    assert (caught.value.reason, caught.value.field) == ("FIELD_INVALID", field)
    assert caught.value.message.startswith(field)


def test_a_right_publication_passes() -> None:
    validation.publication(request())
    bare = request()
    bare.ClearField("rollout")
    bare.without_rollout = True
    validation.publication(bare)


def test_defaults_are_filled_in() -> None:
    empty = service_pb2.RolloutSpec()
    check_spec("rollout", empty)
    spec = converters.spec_from_proto(empty)
    assert spec.plan == (Step(500, 0.0, 3600.0),)
    assert spec.assignment is Assignment.REQUEST
    given = converters.spec_from_proto(request().rollout)
    assert given.plan == (Step(500, 0.0, 3600.0), Step(5000, 0.0, 3600.0))
    assert policy_pb2.Policy.FromString(given.policy) == request().rollout.policy


def test_request_ids() -> None:
    made = str(uuid.uuid4())
    assert validation.request_id(made.upper()) == made
    with pytest.raises(InvalidArgumentError) as missing:
        validation.request_id("")
    assert (missing.value.reason, missing.value.field) == ("REQUEST_ID_MISSING", "request_id")
    with pytest.raises(InvalidArgumentError) as wrong:
        validation.request_id("1")
    assert wrong.value.reason == "FIELD_INVALID"


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (lambda v: validation.model_name("name", v), "m"),
        (lambda v: validation.model_name("name", v), "models/-"),
        (lambda v: validation.model_or_any("parent", v), "models/a b"),
        (lambda v: validation.version_name("name", v), "models/m/versions/"),
        (lambda v: validation.rollout_name("name", v), "models/m/rollouts/0"),
        (lambda v: validation.model_identifier("model_id", v), "Churn"),
        (lambda v: validation.model_identifier("model_id", v), "x" * 64),
        (lambda v: validation.segment("segment", v), "/"),
    ],
)
def test_wrong_names(check: Callable[[str], object], value: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check(value)
    assert caught.value.reason == "FIELD_INVALID"


def test_page_sizes() -> None:
    assert (validation.page_size(0), validation.page_size(1000)) == (100, 1000)
    for wrong in (-1, 1001):
        with pytest.raises(InvalidArgumentError):
            validation.page_size(wrong)


def test_a_description_may_have_lines_and_tabs() -> None:
    described = request()
    described.version.description = "trained on May's data:\n\trows\t9"
    validation.publication(described)


def test_ends_of_lines_may_be_those_of_windows() -> None:
    assert validation.text("reason", "worse\r\nthan before") == "worse\nthan before"


def test_a_control_character_is_named() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        validation.text("reason", "\x1b[1A")
    assert "U+001B" in caught.value.message


def test_what_a_process_says_by_a_look_is_cleaned_and_a_person_is_refused() -> None:
    outcome = resources_pb2.Outcome(reason="class y\x1b[31mes\r\nis worse", gate="f1\x9b")
    outcome.summary.gates.add(gate="f1\x9b")
    outcome.summary.reason = "\x1b]0;x\x07"
    kept = validation.outcome("outcome", outcome, 7)
    assert (kept.reason, kept.gate) == ("class y�[31mes\nis worse", "f1�")
    assert (kept.summary.gates[0].gate, kept.summary.reason) == ("f1�", "�]0;x�")
    with pytest.raises(InvalidArgumentError) as caught:
        validation.outcome("outcome", outcome, 0)
    assert caught.value.field == "outcome.reason"


@pytest.mark.parametrize(("ttl", "held"), [(None, 3600.0), (0, 0), (1, 1), (7 * 86_400, 7 * 86_400)])
def test_for_how_long_a_version_may_be_held(ttl: int | None, held: float) -> None:
    asked = service_pb2.LoadVersionRequest(ttl=None if ttl is None else seconds(ttl))
    assert validation.load_seconds(asked) == held


@pytest.mark.parametrize(
    "ttl",
    [
        duration_pb2.Duration(seconds=-1),
        duration_pb2.Duration(nanos=-1_000),
        seconds(0.5),
        duration_pb2.Duration(seconds=7 * 86_400, nanos=1_000),
    ],
    ids=["negative", "a fraction below zero", "half a second", "more than a week"],
)
def test_for_how_long_no_version_is_held(ttl: duration_pb2.Duration) -> None:
    with pytest.raises(InvalidArgumentError, match="use 1s to 7d, or 0s") as caught:
        validation.load_seconds(service_pb2.LoadVersionRequest(ttl=ttl))
    assert caught.value.field == "ttl"
