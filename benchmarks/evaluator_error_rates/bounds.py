"""What no test of two samples can beat on average: ln(1/alpha) by the divergence from the nearest point of the null."""

import math

import numpy as np

from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.counts import FloatArray

_HALVINGS = 200


def rate_bound(
    alpha: float, test: float, stable: float, margin: Margin, side: Side = Side.HARM, stable_per_test: float = 19.0
) -> float:
    """Requests of the test arm; infinity where both rates lie in the null.

    Minimises KL(test || a + b*s) + stable_per_test * KL(stable || s) over the line.
    """
    line = margin.a + margin.b * stable
    if (test <= line) if side is Side.HARM else (test >= line):
        return math.inf

    def divergence(s: float) -> float:
        c = min(max(margin.a + margin.b * s, 1e-12), 1.0 - 1e-12)
        return kl(test, c) + stable_per_test * kl(stable, s)

    touching = (test - margin.a) / margin.b
    low, high = (min(max(end, 1e-9), 1.0 - 1e-9) for end in sorted((stable, touching)))
    for _ in range(_HALVINGS):
        one, other = low + (high - low) / 3.0, high - (high - low) / 3.0
        low, high = (low, other) if divergence(one) < divergence(other) else (one, high)
    return -math.log(alpha) / divergence(0.5 * (low + high))


def histogram_bound(alpha: float, test: FloatArray, control: FloatArray) -> float:
    """Batches of the test arm where control has as many: both against their mean. Probabilities of the buckets."""
    mean = 0.5 * (test + control)
    total = 0.0
    for arm in (test, control):
        seen = arm > 0
        total += float((arm[seen] * np.log(arm[seen] / mean[seen])).sum())
    return -math.log(alpha) / total if total > 0 else math.inf


def kl(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two rates."""
    first = p * math.log(p / q) if p > 0 else 0.0
    return first + ((1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if p < 1 else 0.0)
