"""A gate's figures for people: both arms, and how far apart they are, in the metric's own unit."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from evaluator.gates.balance import BalanceGate
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import GateState
from evaluator.gates.paired import PairedGate
from evaluator.gates.rates import RateGate
from evaluator.statistics.confusion import f1_from_unlike
from evaluator.statistics.runtime import TAIL
from services.common.policy.metrics import MetricKind


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """n attempts, labels or batches of one arm, the x among them that count, and the arm's value in its unit."""

    n: int = 0
    x: int = 0
    estimate: float = 0.0


class Figures(NamedTuple):
    """Both arms, and how far apart they are; as in crossfade.common.v1.GateReport.

    Attributes:
        difference: test against baseline, in the metric's own unit; 0: nothing is known of it.
        low: lower limit of its interval; NaN: there is none yet.
        high: upper limit, likewise.
    """

    test: ArmFigures
    baseline: ArmFigures
    difference: float
    low: float
    high: float


def figures_of(gate: GateState) -> Figures:
    """A gate's figures."""
    if isinstance(gate, EachClassGate):
        return figures_of(gate.shown)
    if isinstance(gate, DistributionGate):
        test_seconds, control_seconds = gate.quantiles(0.5)
        ratio = gate.seen.interval()
        return Figures(
            test=ArmFigures(gate.test_n, 0, _zero(test_seconds)),
            baseline=ArmFigures(gate.control_n, 0, _zero(control_seconds)),
            difference=_zero(ratio.estimate - 1.0),
            low=ratio.low - 1.0,
            high=ratio.high - 1.0,
        )
    if isinstance(gate, RuntimeLimitGate):
        test_seconds, control_seconds = gate.seconds()
        beyond = gate.interval()
        return Figures(
            test=ArmFigures(gate.test_n, 0, _zero(test_seconds)),
            baseline=ArmFigures(gate.control_n, 0, _zero(control_seconds)),
            difference=_zero(beyond.estimate),
            low=beyond.low,
            high=beyond.high,
        )
    if isinstance(gate, PairedGate):
        return _of_pairs(gate)
    seen = gate.most_moved().seen if isinstance(gate, BalanceGate) else gate.seen
    shown = _as_f1 if gate.gate.metric is MetricKind.F1 else _as_it_is
    test_rate, stable_rate = shown(seen.test_rate), shown(seen.stable_rate)
    # What the difference is from, and its interval, both as a rate that is judged.
    limit = gate.limit_rate if isinstance(gate, RateGate | CohortGate) else None
    base, found = (seen.stable_rate, seen.interval()) if limit is None else (limit, seen.beyond(limit))
    difference, low, high = (
        shown(min(max(base + one, 0.0), 1.0)) - shown(base) for one in (found.estimate, found.low, found.high)
    )
    if shown is _as_it_is:
        difference, low, high = found.estimate, found.low, found.high
    return Figures(
        test=ArmFigures(int(seen.n_test), int(seen.x_test), _zero(test_rate)),
        baseline=ArmFigures(int(seen.n_stable), int(seen.x_stable), _zero(stable_rate)),
        difference=_zero(difference),
        low=low,
        high=high,
    )


def tail_of(gate: DistributionGate) -> tuple[ArmFigures, ArmFigures]:
    """Both arms' batches, those beyond control's p99, and seconds at the 99th percentile."""
    found = zip(gate.beyond(), gate.quantiles(TAIL), strict=True)
    test, baseline = (ArmFigures(n, x, _zero(seconds)) for (n, x), seconds in found)
    return test, baseline


def _of_pairs(gate: PairedGate) -> Figures:
    """Both arms have the same rows."""
    n, found = gate.test_n, gate.interval()
    test, baseline = (ArmFigures(n, wrong, wrong / n if n else 0.0) for wrong in gate.wrong)
    return Figures(test, baseline, difference=_zero(found.estimate), low=found.low, high=found.high)


def _as_it_is(rate: float) -> float:
    return rate


def _as_f1(rate: float) -> float:
    """1 - F1 of a rate 1 - J, which is what is judged."""
    return rate if math.isnan(rate) else 1.0 - f1_from_unlike(rate)


def _zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
