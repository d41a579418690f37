"""What a signature, a traffic plan and a policy must look like."""

import math
from typing import Final

from google.protobuf import duration_pb2

from crossfade.common.v1 import model_pb2, policy_pb2
from crossfade.registry.v1 import service_pb2
from services.common.errors import InvalidArgumentError

_STEPS_LIMIT: Final = 100
_GATES_LIMIT: Final = 100
_DAY_SECONDS: Final = 86_400.0
_PERIOD_LIMIT: Final = 366 * _DAY_SECONDS
_DATATYPES: Final = frozenset(
    {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"}
    | {"FP16", "FP32", "FP64", "BF16", "BYTES"}
)
_MOST_FEATURES: Final = 64
_PROPORTION_ERROR: Final = 1e-3
"""As the manifest allows: its proportions are rounded."""
_TASKS: Final = ("classification", "regression", "other")


def refuse(field: str, message: str) -> InvalidArgumentError:
    """The error of a field that is wrong."""
    return InvalidArgumentError("FIELD_INVALID", f"{field} {message}", field=field)


def check_signature(field: str, signature: model_pb2.Signature) -> None:
    """Checks what callers may send and get.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    _tensors(f"{field}.inputs", list(signature.inputs))
    _tensors(f"{field}.outputs", list(signature.outputs))
    if signature.task not in _TASKS:
        raise refuse(f"{field}.task", f"is {signature.task!r}; use {', '.join(_TASKS)}")
    classes = list(signature.classes)
    if classes and signature.task != "classification":
        raise refuse(f"{field}.classes", f"are for a classification, and the task is {signature.task}")
    if len(set(classes)) != len(classes) or "" in classes:
        raise refuse(f"{field}.classes", "must be different, and none empty")
    if signature.positive_class and signature.positive_class not in classes:
        raise refuse(f"{field}.positive_class", f"{signature.positive_class!r} is not among the classes")


def check_profile(field: str, profile: model_pb2.ReferenceProfile, classes: int) -> None:
    """Checks what the inputs looked like in training.

    Args:
        field: its path.
        profile: the profile.
        classes: how many classes the signature has.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    if not profile.profile_id:
        raise refuse(f"{field}.profile_id", "is required: the digest under which Workers count")
    if profile.rows <= 0:
        raise refuse(f"{field}.rows", f"is {profile.rows}; a profile is made of at least one row")
    if len(profile.features) > _MOST_FEATURES:
        raise refuse(f"{field}.features", f"are {len(profile.features)}; at most {_MOST_FEATURES} are watched")
    seen = set()
    for index, feature in enumerate(profile.features):
        where = f"{field}.features[{index}]"
        if not feature.feature or feature.feature in seen:
            raise refuse(f"{where}.feature", f"{feature.feature!r} is empty or there twice")
        seen.add(feature.feature)
        _proportions(f"{where}.proportions", list(feature.proportions))
    if profile.class_proportions:
        if len(profile.class_proportions) != classes:
            raise refuse(f"{field}.class_proportions", f"are {len(profile.class_proportions)} for {classes} classes")
        _proportions(f"{field}.class_proportions", list(profile.class_proportions))


def _proportions(field: str, proportions: list[float]) -> None:
    # A comparison with NaN is false, so that this refuses it, too.
    if not (all(0 <= one <= 1 for one in proportions) and abs(sum(proportions) - 1) <= _PROPORTION_ERROR):
        raise refuse(field, "are not proportions: each is 0 to 1, and together they are 1")


def _tensors(field: str, specs: list[model_pb2.TensorSpec]) -> None:
    if not specs:
        raise refuse(field, "is empty; name at least one tensor")
    seen = set()
    for index, spec in enumerate(specs):
        where = f"{field}[{index}]"
        if not spec.name or spec.name in seen:
            raise refuse(f"{where}.name", f"{spec.name!r} is empty or there twice")
        seen.add(spec.name)
        if spec.datatype not in _DATATYPES:
            raise refuse(f"{where}.datatype", f"is {spec.datatype!r}; use one of {', '.join(sorted(_DATATYPES))}")
        shape = list(spec.shape)
        if not shape or shape[0] != -1 or any(size < -1 for size in shape):
            raise refuse(f"{where}.shape", f"is {shape}; the first dimension is the batch, -1, and none is below -1")


def check_spec(field: str, spec: service_pb2.RolloutSpec) -> None:
    """Checks how a rollout is to be done.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    if spec.objective not in (policy_pb2.OBJECTIVE_UNSPECIFIED, policy_pb2.OBJECTIVE_NON_INFERIOR):
        raise refuse(f"{field}.objective", "is not NON_INFERIOR; this release carries out NON_INFERIOR rollouts only")
    if spec.assignment not in policy_pb2.Assignment.values():
        raise refuse(f"{field}.assignment", "is unknown; use REQUEST or KEY")
    _plan(f"{field}.plan", spec.plan)
    _policy(f"{field}.policy", spec.policy)


def _plan(field: str, plan: policy_pb2.TrafficPlan) -> None:
    if len(plan.steps) > _STEPS_LIMIT:
        raise refuse(f"{field}.steps", f"has {len(plan.steps)} steps; at most {_STEPS_LIMIT} are taken")
    before = 1
    for index, step in enumerate(plan.steps):
        where = f"{field}.steps[{index}]"
        if step.mode not in (policy_pb2.MODE_UNSPECIFIED, policy_pb2.MODE_LIVE):
            raise refuse(f"{where}.mode", "is not LIVE; this release carries out LIVE steps only")
        if not 1 <= step.share_bps <= 10_000:
            raise refuse(f"{where}.share_bps", f"is {step.share_bps}; use 1 to 10,000 basis points (500 is 5 %)")
        if step.share_bps < before:
            raise refuse(f"{where}.share_bps", f"is {step.share_bps} after {before}; shares never fall")
        before = step.share_bps
        period = _PERIOD_LIMIT
        if step.HasField("period"):
            period = _seconds(f"{where}.period", step.period, low=1e-3, high=_PERIOD_LIMIT)
        _seconds(f"{where}.min_duration", step.min_duration, low=0.0, high=period)


def _policy(field: str, policy: policy_pb2.Policy) -> None:
    if len(policy.gates) > _GATES_LIMIT:
        raise refuse(f"{field}.gates", f"has {len(policy.gates)} gates; at most {_GATES_LIMIT} are taken")
    seen = set()
    for index, gate in enumerate(policy.gates):
        where = f"{field}.gates[{index}]"
        _gate(where, gate)
        name = gate.name or policy_pb2.Metric.Name(gate.metric).removeprefix("METRIC_").lower()
        if name in seen:
            raise refuse(f"{where}.name", f"{name!r} is there twice; give each gate a name of its own")
        seen.add(name)
    if policy.gates and not any(gate.required for gate in policy.gates):
        raise refuse(f"{field}.gates", "require nothing, so that nothing would have to be shown; require at least one")
    if policy.HasField("look_interval"):
        _seconds(f"{field}.look_interval", policy.look_interval, low=0.05, high=_DAY_SECONDS)
    if policy.HasField("stale_after"):
        _seconds(f"{field}.stale_after", policy.stale_after, low=0.05, high=_DAY_SECONDS)
    _seconds(f"{field}.settling", policy.settling, low=0.0, high=_DAY_SECONDS)
    for name in ("alpha_rollback", "alpha_promote"):
        _between(f"{field}.{name}", getattr(policy, name), 0.0, 0.5)
    _between(f"{field}.drift_margin", policy.drift_margin, 0.0, 1.0)
    _between(f"{field}.fresh_instances", policy.fresh_instances, 0.0, 1.0)
    if policy.power:
        _between(f"{field}.power", policy.power, 0.5, 1.0)
    if policy.period_end not in policy_pb2.PeriodEnd.values():
        raise refuse(f"{field}.period_end", "is unknown; use INCONCLUSIVE, HOLD or ROLLBACK")
    _between(f"{field}.labels.min_coverage", policy.labels.min_coverage, 0.0, 1.0)
    _between(f"{field}.labels.max_coverage_gap", policy.labels.max_coverage_gap, 0.0, 1.0)
    _seconds(f"{field}.labels.min_age", policy.labels.min_age, low=0.0, high=_PERIOD_LIMIT)


def _gate(field: str, gate: policy_pb2.Gate) -> None:
    if gate.metric not in policy_pb2.Metric.values()[1:]:
        raise refuse(f"{field}.metric", "is required: ERRORS, RUNTIME, ACCURACY or INPUT_DRIFT")
    if len(gate.name) > 63:
        raise refuse(f"{field}.name", "is longer than 63 characters")
    if gate.metric == policy_pb2.METRIC_INPUT_DRIFT and gate.required:
        raise refuse(f"{field}.required", "cannot be for input drift, which pauses a rollout and proves nothing")
    _between(f"{field}.weight", gate.weight, 0.0, 1e6)
    _margin(f"{field}.harm", gate.harm, runtime=gate.metric == policy_pb2.METRIC_RUNTIME)
    _margin(f"{field}.safe", gate.safe, runtime=gate.metric == policy_pb2.METRIC_RUNTIME)
    if gate.HasField("safe") and gate.metric != policy_pb2.METRIC_INPUT_DRIFT:
        _safe(f"{field}.safe", gate)


def _margin(field: str, margin: policy_pb2.Margin, *, runtime: bool) -> None:
    if margin.factor:
        _between(f"{field}.factor", margin.factor, 1.0, 1e3)
    _between(f"{field}.offset", margin.offset, 0.0, 1.0)
    _between(f"{field}.buckets", margin.buckets, 0, 40)
    if runtime and (margin.factor > 1.0 or margin.offset):
        raise refuse(field, "of a runtime is given in buckets; one is 9.05 %")
    if margin.buckets and not runtime:
        raise refuse(f"{field}.buckets", "are for runtimes; use factor and offset")


def _safe(field: str, gate: policy_pb2.Gate) -> None:
    harm, safe = gate.harm, gate.safe
    if not (safe.factor > 1.0 or safe.offset or safe.buckets):
        raise refuse(field, "allows nothing, and no data can show that; allow a margin")
    tighter = (safe.factor or 1.0) < (harm.factor or 1.0) or safe.offset < harm.offset or safe.buckets < harm.buckets
    if gate.HasField("harm") and tighter:
        raise refuse(
            field, "is tighter than harm, so that a version could be neither; make safe at least as wide as harm"
        )


def _between(field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise refuse(field, f"is {value:g}; use {low:g} to {high:g}")


def _seconds(field: str, value: duration_pb2.Duration, *, low: float, high: float) -> float:
    seconds = value.seconds + value.nanos / 1e9
    if not low <= seconds <= high:
        raise refuse(field, f"is {seconds:g} s; use {low:g} s to {high:g} s")
    return seconds
