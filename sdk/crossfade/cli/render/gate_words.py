"""What each gate measures, allows and calls its figures. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crossfade.cli.text import MINUS, count, duration_seconds, percent, plural, seconds, signed
from crossfade.common.v1.analysis_pb2 import GateReport
from crossfade.common.v1.policy_pb2 import (
    METRIC_ABSOLUTE_ERROR,
    METRIC_ACCURACY,
    METRIC_CLASS_BALANCE,
    METRIC_CUSTOM,
    METRIC_DISAGREEMENT,
    METRIC_ERRORS,
    METRIC_F1,
    METRIC_FALSE_POSITIVE_RATE,
    METRIC_INPUT_DRIFT,
    METRIC_PAIRED_ACCURACY,
    METRIC_PRECISION,
    METRIC_RECALL,
    METRIC_RUNTIME,
    METRIC_UNSPECIFIED,
    METRIC_VALUE,
    Gate,
    Limit,
    Margin,
    Metric,
    Policy,
)
from crossfade.enum_names import enum_name

ALPHA_ROLLBACK: Final = 0.01
"""The policy's alpha_rollback where it sets none."""
ALPHA_PROMOTE: Final = 0.05
"""Likewise its alpha_promote."""
DEFAULT_HARM: Final[Mapping[Metric.ValueType, Margin]] = {
    METRIC_ERRORS: Margin(factor=1.1, offset=0.0005),
    METRIC_RUNTIME: Margin(buckets=1),
    METRIC_ACCURACY: Margin(factor=1, offset=0.005),
    METRIC_PRECISION: Margin(factor=1, offset=0.005),
    METRIC_RECALL: Margin(factor=1, offset=0.005),
    METRIC_FALSE_POSITIVE_RATE: Margin(factor=1, offset=0.005),
    METRIC_F1: Margin(factor=1, offset=0.005),
    METRIC_VALUE: Margin(factor=1, offset=0.005),
    METRIC_CLASS_BALANCE: Margin(factor=1, offset=0.02),
    METRIC_ABSOLUTE_ERROR: Margin(buckets=1),
    METRIC_CUSTOM: Margin(factor=1.1, offset=0.005),
    METRIC_PAIRED_ACCURACY: Margin(factor=1, offset=0.005),
}
"""The harm margins of gates that set none."""

_BUCKET: Final = 2 ** (1 / 8)
_NAMES: Final[Mapping[str, Metric.ValueType]] = {
    "errors": METRIC_ERRORS,
    "runtime": METRIC_RUNTIME,
    "accuracy": METRIC_ACCURACY,
    "input_drift": METRIC_INPUT_DRIFT,
}
_MORE_IS_BETTER: Final = frozenset({METRIC_ACCURACY, METRIC_PRECISION, METRIC_RECALL, METRIC_F1, METRIC_VALUE})
LABEL_METRICS: Final = _MORE_IS_BETTER | {METRIC_FALSE_POSITIVE_RATE, METRIC_ABSOLUTE_ERROR}
"""What is judged by labels."""
RELATIVE_METRICS: Final = frozenset({METRIC_RUNTIME, METRIC_ABSOLUTE_ERROR})
"""What is compared as so many percent of stable's."""


def metric_of(policy: Policy, gate: GateReport) -> Metric.ValueType:
    """What a gate watches: as it says or, in the looks of older releases, as the policy or its name says."""
    if gate.metric:
        return gate.metric
    asked = asked_for(policy, gate.gate)
    return asked.metric if asked else _NAMES.get(gate.gate, METRIC_UNSPECIFIED)


def more_is_better(metric: Metric.ValueType) -> bool:
    """Whether people read the share of what was right where the gate counts what was wrong."""
    return metric in _MORE_IS_BETTER


def arms_sentence(test: str, stable: str, gate: GateReport, metric: Metric.ValueType) -> str:
    """`v3 was right on 82.5 % of 487 labels, v1 on 91.8 % of 9,602`.

    Args:
        test: the test version.
        stable: the stable version.
        gate: the figures.
        metric: what the gate watches.
    """
    if gate.segment:
        everyone = GateReport()
        everyone.CopyFrom(gate)
        everyone.segment = ""
        return f"callers in {gate.segment}: {arms_sentence(test, stable, everyone, metric)}"
    compared = ((test, gate.test),) if gate.HasField("limit") else ((test, gate.test), (stable, gate.baseline))
    unseen = [version for version, arm in compared if not arm.n]
    if unseen:
        return f"nothing was seen yet of {' and '.join(unseen)}"
    n, m = gate.test.n, gate.baseline.n
    if metric == METRIC_RUNTIME and gate.HasField("limit"):
        part = gate.limit.quantile
        took = f"{100 * part:g} % of its batches took at most" if part else "its batches took a mean of"
        other = f"; {stable}: {seconds(gate.baseline.estimate)} ({count(m)})" if m else ""
        return f"{test}: {took} {seconds(gate.test.estimate)} ({plural(n, 'batch', 'batches')}){other}"
    if metric == METRIC_RUNTIME:
        return (
            f"{test} took {seconds(gate.test.estimate)} a batch at the median ({plural(n, 'batch', 'batches')}), "
            f"{stable} {seconds(gate.baseline.estimate)} ({count(m)}){_tail(stable, gate)}"
        )
    if metric == METRIC_CLASS_BALANCE:
        return (
            f"{test} answered {gate.positive_class} for {percent(gate.test.estimate, 1)} of {plural(n, 'row')}, "
            f"{stable} for {percent(gate.baseline.estimate, 1)} of {count(m)}"
        )
    if metric == METRIC_DISAGREEMENT:
        return f"{test} answered {percent(gate.test.estimate)} of {plural(n, 'mirrored row')} otherwise than {stable}"
    if metric == METRIC_PAIRED_ACCURACY:
        wrong = [percent(one) for one in (gate.test.estimate, gate.baseline.estimate)]
        return f"{test} was wrong on {wrong[0]} of {plural(n, 'labelled mirrored row')}, {stable} on {wrong[1]} of them"
    if metric == METRIC_CUSTOM:
        bad = [percent(one) for one in (gate.test.estimate, gate.baseline.estimate)]
        return f"{bad[0]} of {test}'s {plural(n, 'count')} were bad, {bad[1]} of {stable}'s {count(m)}"
    if metric in LABEL_METRICS:
        return _labels_sentence(test, stable, gate, metric) + _averages(gate)
    return (
        f"{test} failed {percent(gate.test.estimate)} of {plural(n, 'attempt')}, "
        f"{stable} {percent(gate.baseline.estimate)} of {count(m)}"
    )


def _tail(stable: str, gate: GateReport) -> str:
    """`; 3.12 % of them took longer than v1's p99 of their size, 0.91 % of v1's`; empty: nothing was asked of them."""
    test, baseline = gate.tail.test, gate.tail.baseline
    if not (test.n and baseline.n):
        return ""
    shares = [percent(arm.x / arm.n) for arm in (test, baseline)]
    return f"; {shares[0]} of them took longer than {stable}'s p99 of their size, {shares[1]} of {stable}'s"


def _averages(gate: GateReport) -> str:
    """`; averaged over the classes 91.2 % against 91.8 %`; empty: the gate is of one class, or of none."""
    if not gate.HasField("averages"):
        return ""
    test, baseline = percent(gate.averages.test, 1), percent(gate.averages.baseline, 1)
    return f"; averaged over the classes {test} against {baseline}"


def _labels_sentence(test: str, stable: str, gate: GateReport, metric: Metric.ValueType) -> str:
    n, m, positive = gate.test.n, count(gate.baseline.n), gate.positive_class
    wrong = gate.test.estimate, gate.baseline.estimate
    right = [percent(1 - one, 1) for one in wrong]
    if metric == METRIC_ABSOLUTE_ERROR:
        off = [f"{one:.3g}" for one in wrong]
        return f"{test} was off by {off[0]} at the median of {plural(n, 'label')}, {stable} by {off[1]} of {m}"
    if metric == METRIC_VALUE:
        return f"{right[0]} of {plural(n, 'value')} reported of {test} were good, {right[1]} of {stable}'s {m}"
    if metric == METRIC_PRECISION:
        return f"{right[0]} of {test}'s {plural(n, 'answer')} {positive} were right, {right[1]} of {stable}'s {m}"
    if metric == METRIC_RECALL:
        return f"{test} found {right[0]} of {plural(n, 'row')} that are {positive}, {stable} {right[1]} of {m}"
    if metric == METRIC_FALSE_POSITIVE_RATE:
        false = [percent(one) for one in wrong]
        return f"{test} took {false[0]} of {plural(n, 'other row')} for {positive}, {stable} {false[1]} of {m}"
    if metric == METRIC_F1:
        f1 = [f"{1 - one:.3f}" for one in wrong]
        return f"{test}'s F1 for {positive} was {f1[0]} ({plural(n, 'row')}), {stable}'s {f1[1]} ({m})"
    return f"{test} was right on {right[0]} of {plural(n, 'label')}, {stable} on {right[1]} of {m}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Test against stable as people read it: more is better for accuracy and its kin, worse for the others.

    Attributes:
        middle: `+0.3`.
        interval: `−1.4 … +2.1`, the 95 % interval; empty: unknown yet.
        unit: `pt` or `%`.
    """

    middle: str
    interval: str
    unit: str


def difference(gate: GateReport, metric: Metric.ValueType) -> Difference | None:
    """The difference of the arms, or of the test arm from the gate's limit; None: there is nothing to compare."""
    if not (gate.test.n and (gate.baseline.n or gate.HasField("limit"))):
        return None
    low, high, middle = gate.low, gate.high, gate.difference
    if more_is_better(metric):
        low, high, middle = -high, -low, -middle
    digits, unit = (0, "%") if metric in RELATIVE_METRICS else (1 if more_is_better(metric) else 2, "pt")
    known = math.isfinite(low) and math.isfinite(high)
    interval = f"{signed(100 * low, digits)} … {signed(100 * high, digits)}" if known else ""
    return Difference(signed(100 * middle, digits), interval, unit)


def limit_text(limit: Limit) -> str:
    """What a gate with a limit asks for: `≥ 90 %`, `≤ 20 ms` or, for a quantile, `≤ 50 ms for 99 %`."""
    match limit.WhichOneof("bound"):
        case "at_least":
            return f"≥ {100 * limit.at_least:.4g} %"
        case "at_most":
            return f"≤ {100 * limit.at_most:.4g} %"
        case _:
            of = f" for {100 * limit.quantile:g} %" if limit.quantile else ""
            value = duration_seconds(limit.duration)
            return f"≤ {value:.4g} s{of}" if value >= 1 else f"≤ {1000 * value:.4g} ms{of}"


def allowance(policy: Policy, gate: GateReport, metric: Metric.ValueType) -> str:
    """How much worse than stable the gate lets a version be before it is rolled back: `−0.5 points`, `+9 %`, `≥ 90 %`.

    Empty: the metric is none that this release knows.
    """
    if gate.HasField("limit"):
        return limit_text(gate.limit)
    asked = asked_for(policy, gate.gate)
    margin = asked.harm if asked and asked.HasField("harm") else DEFAULT_HARM.get(metric)
    if margin is None:
        return ""
    if metric in RELATIVE_METRICS:
        return f"+{100 * (_BUCKET**margin.buckets - 1):.0f} %"
    more = margin.offset + ((margin.factor or 1) - 1) * gate.baseline.estimate
    sign = "±" if metric == METRIC_CLASS_BALANCE else MINUS if more_is_better(metric) else "+"
    return f"{sign}{100 * more:.3g} points"


def asked_for(policy: Policy, name: str) -> Gate | None:
    """The policy's gate of that name; None: it names none so, as where the defaults are judged."""
    for gate in policy.gates:
        default = enum_name(Metric.DESCRIPTOR, gate.metric).lower()
        if gate.HasField("limit"):
            default += " limit"
        if gate.segment:
            default += f" in {gate.segment}"
        if (gate.name or default) == name:
            return gate
    return None
