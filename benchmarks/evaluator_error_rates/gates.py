"""The eight gates that every rollout here is judged by, as the product completes and opens them, for many rollouts."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from evaluator.gates.opening import agreeing_looks
from evaluator.statistics import rates
from evaluator.statistics.bets import Margin
from evaluator.statistics.confusion import unlike_margin
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateTest
from evaluator.terms import Terms
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Meaning, Plan, Policy

CLASSES: Final = ("no", "yes")
POSITIVE: Final = "yes"
METRICS: Final = (
    MetricKind.ERRORS,
    MetricKind.RUNTIME,
    MetricKind.ACCURACY,
    MetricKind.PRECISION,
    MetricKind.RECALL,
    MetricKind.FALSE_POSITIVE_RATE,
    MetricKind.F1,
    MetricKind.CLASS_BALANCE,
)
RATE_METRICS: Final = tuple(metric for metric in METRICS if metric is not MetricKind.RUNTIME)
SHARES: Final = 2
"""Shares that class balance watches: those of one of two classes and of the other. The product has each twice, since
of two classes the one's share is the rest of the other's: the same mixture."""


@cache
def policy() -> Policy:
    """The default policy with eight gates; a rollback's error of .01 is shared by the product's own weights."""
    drafts = tuple(GateDraft(metric, required=True) for metric in METRICS)
    found, violations = complete_policy(
        PolicyDraft(gates=drafts), Meaning("classification", CLASSES, positive=POSITIVE)
    )
    if violations:
        raise ValueError(f"the product refuses the benchmark's policy: {violations}")
    return found


@dataclass(frozen=True, slots=True)
class Bar:
    """A gate, its part of the rollback error, and the evidence that decides."""

    gate: Gate
    alpha: float

    @property
    def harm(self) -> float:
        """ln E that rolls back."""
        return log_threshold(self.alpha)


@cache
def bars() -> dict[MetricKind, Bar]:
    """The gates by what they watch."""
    return {gate.metric: Bar(gate, policy().gate_alpha(gate)) for gate in policy().gates}


def safe_bar() -> float:
    """ln E that passes a gate."""
    return log_threshold(policy().alpha_promote)


def open_harm(metric: MetricKind, rollouts: int, f1: float) -> RateTest:
    """A fresh test of harm for each of many rollouts. f1: stable's, by which the line of F1 is drawn beforehand."""
    bar = bars()[metric]
    margin = line(bar.gate.harm, metric, f1)
    if metric is MetricKind.CLASS_BALANCE:
        return rates.harm_test_of_any(margin, bar.alpha, SHARES, shape=(rollouts,))
    nothing = np.zeros(rollouts)
    return rates.harm_test(margin, bar.alpha, nothing, nothing, agreeing_looks=agreeing(metric))


def agreeing(metric: MetricKind) -> int:
    """Looks that must agree on harm, as in a product's rollout with the default plan."""
    terms = Terms("m", "", "v2", "v1", policy(), Plan(), declared=CLASSES)
    return agreeing_looks(bars()[metric].gate, terms, 0)


def open_safe(metric: MetricKind, rollouts: int, f1: float) -> RateTest:
    """A fresh test of non-inferiority for each of many rollouts; f1 as in `open_harm`."""
    nothing = np.zeros((rollouts, SHARES) if metric is MetricKind.CLASS_BALANCE else rollouts)
    return rates.non_inferiority_test(line(bars()[metric].gate.safe, metric, f1), nothing, nothing)


def line(margin: GateMargin, metric: MetricKind, f1: float) -> Margin:
    """A gate's line; that of F1 is one of 1 - J, which history gives."""
    if metric is MetricKind.F1:
        return Margin(unlike_margin(margin.offset, f1))
    return Margin(margin.offset, margin.factor)
