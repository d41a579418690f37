"""How much of the test arm's traffic a gate takes, from what is known of stable: to show no harm, and to show one."""

import math

from evaluator.gates.balance import BalanceGate
from evaluator.gates.distributions import RATIO, DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import RequestGate
from evaluator.gates.rates import RateGate
from evaluator.statistics.bets import smoothed_rate
from evaluator.statistics.confusion import f1_from_unlike, unlike_from_f1
from evaluator.statistics.power import needed, rate_growth, remaining, runtime_growth
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_SAFE

TYPICAL = 0.5
"""The power with which "about so many" is meant."""


def until_safe(gate: RequestGate, better: float, alpha: float, share: float) -> int | None:
    """Attempts, batches or labels until PASS: of a version like stable, or in the primary gate of a better one."""
    if gate.gate.better is None or not isinstance(gate, RateGate):
        return gate.remaining(alpha, share)
    if not gate.drawn or not gate.safe.n_past:
        return None
    stable = float(smoothed_rate(gate.safe.n_past, gate.safe.x_past))
    reached = max(stable - better, 0.0)
    if gate.gate.metric is MetricKind.F1:
        reached = unlike_from_f1(min(f1_from_unlike(stable) + better, 1.0))
    growth = rate_growth(gate.safe, reached, stable, share)
    return _times(remaining(gate.safe.process, growth, alpha), gate.effect)


def value_of(gate: RequestGate) -> float:
    """Stable's value now, as a report's estimate."""
    if isinstance(gate, EachClassGate):
        return value_of(gate.shown)
    if isinstance(gate, BalanceGate):
        return math.nan
    if isinstance(gate, DistributionGate):
        return gate.past_median()
    if isinstance(gate, RuntimeLimitGate):
        return gate.past_seconds()
    if not gate.harm.n_past:
        return math.nan
    rate = float(gate.harm.x_past / gate.harm.n_past)
    return 1.0 - f1_from_unlike(rate) if gate.gate.metric is MetricKind.F1 else rate


def allowed_by(gate: RequestGate) -> float:
    """The harm that the gate's safe margin stands for, in the metric's own unit; with a limit, one beyond it."""
    value = 0.0 if math.isnan(value_of(gate)) else value_of(gate)
    limit, safe = gate.gate.limit, gate.gate.safe
    if isinstance(gate, RuntimeLimitGate):
        beyond = gate.limit_seconds * RATIO ** DEFAULT_SAFE[MetricKind.RUNTIME].buckets
        return beyond / value - 1.0 if value else 0.0
    if isinstance(gate, DistributionGate):
        return RATIO**safe.buckets - 1.0
    if limit is not None:
        return max(limit.bad_rate() - value, 0.0) + DEFAULT_SAFE[gate.gate.metric].offset
    return safe.offset + (safe.factor - 1.0) * value


def until_harm(gate: RequestGate, drop: float, alpha: float, share: float) -> int | None:
    """Attempts, batches or labels of the test arm with which a harm typically rolls back; None: it never does."""
    if isinstance(gate, EachClassGate):
        found = [until_harm(part, drop, alpha / len(gate.parts), share) for part in gate.parts]
        known = [one for one in found if one is not None]
        return max(known) if len(known) == len(found) else None
    if isinstance(gate, BalanceGate):
        return _times(gate.harmed(drop, alpha, TYPICAL, share), gate.effect)
    if isinstance(gate, RuntimeLimitGate):
        return gate.harmed(gate.past_seconds() * (1.0 + drop) / gate.limit_seconds - 1.0, alpha, TYPICAL)
    if isinstance(gate, DistributionGate):
        if not gate.harm.past.counts.sum():
            return None
        buckets = round(math.log1p(drop) / math.log(RATIO))
        return needed(gate.harm.process, runtime_growth(gate.harm, buckets), alpha, TYPICAL)
    stable = float(smoothed_rate(gate.harm.n_past, gate.harm.x_past))
    harmed = min(stable + drop, 1.0)
    if gate.gate.metric is MetricKind.F1:
        harmed = unlike_from_f1(max(f1_from_unlike(stable) - drop, 0.0))
    if not gate.drawn:
        return None
    growth = rate_growth(gate.harm, harmed, stable, share)
    return _times(needed(gate.harm.process, growth, alpha, TYPICAL), gate.effect)


def _times(n: int | None, effect: float) -> int | None:
    return None if n is None else math.ceil(n * effect)
