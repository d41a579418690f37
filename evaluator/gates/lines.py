"""Where a gate's lines and limits lie, as rates."""

from evaluator.statistics.bets import Margin
from evaluator.statistics.confusion import unlike_from_f1
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_SAFE, Gate, GateMargin


def line(margin: GateMargin) -> Margin:
    """A margin beside stable's rate."""
    return Margin(margin.offset, margin.factor)


def safe_limit(gate: Gate) -> float:
    """The rate beyond a gate's limit that a harm must show by, since at the limit itself none is to be seen."""
    return limit_rate(gate, DEFAULT_SAFE[gate.metric].offset)


def limit_rate(gate: Gate, beyond: float = 0.0) -> float:
    """The rate that is judged, at a gate's limit or, in the metric's own unit, `beyond` it."""
    assert gate.limit is not None  # noqa: S101 - for the type checker: callers have asked
    rate = gate.limit.bad_rate() + beyond
    return unlike_from_f1(max(1.0 - rate, 0.0)) if gate.metric is MetricKind.F1 else rate
