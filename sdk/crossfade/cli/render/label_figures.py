"""What the labels say of a version, in the measures that its gates judge. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from crossfade.cli.render.gate_words import asked_for, metric_of
from crossfade.cli.render.traffic import VersionFigures
from crossfade.cli.render.views import LaneView
from crossfade.cli.text import percent
from crossfade.common.v1.analysis_pb2 import GateReport
from crossfade.common.v1.policy_pb2 import (
    METRIC_F1,
    METRIC_FALSE_POSITIVE_RATE,
    METRIC_PRECISION,
    METRIC_RECALL,
    Metric,
    Policy,
)

_NAMES: Final = {
    METRIC_F1: "F1",
    METRIC_PRECISION: "precision",
    METRIC_RECALL: "recall",
    METRIC_FALSE_POSITIVE_RATE: "false positives",
}

_EACH_CLASS: Final = "*"


class Measure(NamedTuple):
    """What a gate measures of the labels.

    Attributes:
        metric: a metric.
        positive: the class that it is about.
        chosen: the gate is on every class, of which it shows now this one and now another.
    """

    metric: "Metric.ValueType"
    positive: str
    chosen: bool = False


def measures(view: LaneView) -> list[Measure]:
    """What the lane's latest look measures of one class, each once; empty: nothing, so that accuracy is what there is.

    The look is the live rollout's, or the one that ended the latest, or the monitor's.
    """
    policy = view.rollout.policy if view.rollout else Policy()
    summaries = [view.analysis.summary] if view.analysis else []
    summaries += [view.rollout.outcome.summary] if view.rollout else []
    summaries += [view.monitor.summary] if view.monitor else []
    gates = next((one.gates for one in summaries if one.gates), ())
    # A gate of some callers alone is about other labels.
    found = (_measure(policy, gate) for gate in gates if not gate.segment)
    return list(dict.fromkeys(one for one in found if one.metric in _NAMES))


def label_figures(figures: VersionFigures, wanted: Iterable[Measure]) -> str:
    """`F1 91.8 %`, `recall (fraud) 80.0 %` where it may be of another class; empty: there is no label yet."""
    if not figures.labelled:
        return ""
    every = list(wanted)
    several = {metric for metric, count in Counter(one.metric for one in every).items() if count > 1}
    known = [_said(figures, one.metric, one.positive, named=one.chosen or one.metric in several) for one in every]
    return "  ".join(filter(None, known)) or f"accuracy {percent(figures.right / figures.labelled, 1)}"


def _measure(policy: Policy, gate: GateReport) -> Measure:
    asked = asked_for(policy, gate.gate)
    return Measure(metric_of(policy, gate), gate.positive_class, bool(asked and asked.positive_class == _EACH_CLASS))


def _said(figures: VersionFigures, metric: "Metric.ValueType", positive: str, *, named: bool) -> str:
    """One measure; empty: of a model of many classes, or where there is no row that it could be of, it is not known."""
    if any(not predicted for predicted, _ in figures.pairs):
        return ""
    hits = figures.pairs.get((positive, positive), 0)
    predicted = sum(count for (one, _), count in figures.pairs.items() if one == positive)
    actual = sum(count for (_, one), count in figures.pairs.items() if one == positive)
    part, whole = {
        METRIC_F1: (2 * hits, predicted + actual),
        METRIC_PRECISION: (hits, predicted),
        METRIC_RECALL: (hits, actual),
        METRIC_FALSE_POSITIVE_RATE: (predicted - hits, figures.labelled - actual),
    }[metric]
    name = f"{_NAMES[metric]} ({positive})" if named else _NAMES[metric]
    return f"{name} {percent(part / whole, 1)}" if whole else ""
