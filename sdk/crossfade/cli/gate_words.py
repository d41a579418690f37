"""What each gate measures, allows and calls its figures. Pure."""

from collections.abc import Mapping
from typing import Final

from crossfade.cli.text import MINUS, count, percent, plural, seconds
from crossfade.common.v1.analysis_pb2 import ArmCounts, GateReport
from crossfade.common.v1.policy_pb2 import (
    METRIC_ACCURACY,
    METRIC_ERRORS,
    METRIC_INPUT_DRIFT,
    METRIC_RUNTIME,
    METRIC_UNSPECIFIED,
    Gate,
    Margin,
    Metric,
    Policy,
)

ALPHA_ROLLBACK: Final = 0.01
"""The policy's alpha_rollback where it sets none."""
DEFAULT_HARM: Final[Mapping[Metric.ValueType, Margin]] = {
    METRIC_ERRORS: Margin(factor=1.1, offset=0.0005),
    METRIC_RUNTIME: Margin(buckets=1),
    METRIC_ACCURACY: Margin(factor=1, offset=0.005),
}
"""The harm margins of gates that set none."""

_BUCKET: Final = 2 ** (1 / 8)
_NAMES: Final[Mapping[str, Metric.ValueType]] = {
    "errors": METRIC_ERRORS,
    "runtime": METRIC_RUNTIME,
    "accuracy": METRIC_ACCURACY,
    "input_drift": METRIC_INPUT_DRIFT,
}


def metric_of(policy: Policy, gate: GateReport) -> Metric.ValueType:
    """What a gate watches: as the policy says or, for the default gates, as its name says."""
    asked = _asked(policy, gate.gate)
    return asked.metric if asked else _NAMES.get(gate.gate, METRIC_UNSPECIFIED)


def accuracy_like(metric: Metric.ValueType) -> bool:
    """Whether people read the share of right answers where the gate counts wrong ones."""
    return metric == METRIC_ACCURACY


def arm_sentence(version: str, arm: ArmCounts, metric: Metric.ValueType) -> str:
    """`v3 was right on 82.5 % of 487 labels`, `v3 failed 0.02 % of 487 attempts`."""
    if not arm.n:
        return f"nothing was seen of {version}"
    if metric == METRIC_RUNTIME:
        return f"{version} took {seconds(arm.estimate)} a batch (median of {count(arm.n)})"
    if accuracy_like(metric):
        return f"{version} was right on {percent(1 - arm.estimate, 1)} of {plural(arm.n, 'label')}"
    return f"{version} failed {percent(arm.estimate)} of {plural(arm.n, 'attempt')}"


def allowance(policy: Policy, gate: GateReport, metric: Metric.ValueType) -> str:
    """How much worse than stable the gate lets a version be before it is rolled back: `−0.5 points`, `+9 %`.

    Empty: the metric is none that this release knows.
    """
    asked = _asked(policy, gate.gate)
    margin = asked.harm if asked and asked.HasField("harm") else DEFAULT_HARM.get(metric)
    if margin is None:
        return ""
    if metric == METRIC_RUNTIME:
        return f"+{100 * (_BUCKET**margin.buckets - 1):.0f} %"
    more = margin.offset + ((margin.factor or 1) - 1) * gate.baseline.estimate
    return f"{MINUS if accuracy_like(metric) else '+'}{100 * more:.3g} points"


def _asked(policy: Policy, name: str) -> Gate | None:
    for gate in policy.gates:
        default = Metric.Name(gate.metric).removeprefix("METRIC_").lower()
        if (gate.name or default) == name:
            return gate
    return None
