"""What others make of slower batches, told by a histogram per look: when each would have rolled back."""

from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.judges import (
    ENOUGH_FOR_NORMAL,
    ONE_SIDED,
    PER_MINUTE,
    BoolArray,
    beyond_mixture,
    checked,
    first_look,
    kayenta,
)
from evaluator.gates.distributions import RATIO
from evaluator.statistics.counts import FloatArray

_P99: Final = 0.99


def others(
    rng: Generator, shapes: tuple[FloatArray, FloatArray], slow: FloatArray, rollouts: int, looks: int, batches: int
) -> dict[str, FloatArray]:
    """The looks at which each judge finds the test arm slower, (rollouts).

    Args:
        rng: where chance comes from.
        shapes: probabilities of the buckets, of the test arm and of control's.
        slow: those of the version that the judges are set up to find: Flagger's threshold and the mixture's deviation
            are told by it, so that both are better than they could be in use.
        rollouts: how many.
        looks: of each.
        batches: of each arm and look.
    """
    usual = shapes[1]
    steps = np.arange(len(usual), dtype=np.float64)
    seconds = RATIO**steps
    threshold = float(np.sqrt(p99(usual) * p99(slow)))
    deviation = float((slow - usual) @ steps)
    sums, minute = (np.zeros((2, rollouts, len(usual))) for _ in range(2))
    ranked, mixed = (np.zeros((looks, rollouts), dtype=bool) for _ in range(2))
    means: list[FloatArray] = []
    checks: list[BoolArray] = []
    for look in range(looks):
        counts = np.array([rng.multinomial(batches, probabilities, rollouts) for probabilities in shapes])
        sums += counts
        minute += counts
        ranked[look] = mann_whitney(sums[0], sums[1])
        mixed[look] = _mixture(sums[0], sums[1], deviation)
        if (look + 1) % PER_MINUTE == 0:
            means.append((minute @ seconds) / minute.sum(axis=-1))
            checks.append(p99(minute[0]) > threshold)
            minute = np.zeros(minute.shape)
    points = np.array(means).reshape(-1, 2, rollouts)
    return {
        "Mann-Whitney at .05, each look": first_look(ranked),
        "Kayenta-like, every 5 min": kayenta(points[:, 0], points[:, 1]),
        "mSPRT of ln seconds, alpha .01": first_look(mixed),
        "Flagger-like, p99, 5 failed checks": checked(np.array(checks, dtype=bool).reshape(-1, rollouts)),
    }


def mann_whitney(test: FloatArray, control: FloatArray) -> BoolArray:
    """Whether a Mann-Whitney test of two histograms (rollouts, buckets) finds test slower, at .05 on that side."""
    n, m = test.sum(axis=-1), control.sum(axis=-1)
    below = control.cumsum(axis=-1) - control
    wins = (test * (below + 0.5 * control)).sum(axis=-1)
    ties = ((test + control) ** 3 - (test + control)).sum(axis=-1)
    both = n + m
    spread = np.sqrt(n * m / 12.0 * (both + 1.0 - ties / np.maximum(both * (both - 1.0), 1.0)))
    slower: BoolArray = wins - 0.5 * n * m > ONE_SIDED * spread
    return slower


def p99(counts: FloatArray) -> FloatArray:
    """Seconds, in any unit, of (..., buckets), as Prometheus' `histogram_quantile` draws a line through a bucket."""
    below = counts.cumsum(axis=-1)
    rank = _P99 * below[..., -1]
    place = (below < rank[..., np.newaxis]).sum(axis=-1)
    held = np.take_along_axis(counts, place[..., np.newaxis], axis=-1)[..., 0]
    under = np.take_along_axis(below, place[..., np.newaxis], axis=-1)[..., 0] - held
    low, high = RATIO ** (place - 1.0), RATIO ** (place + 0.0)
    found: FloatArray = low + (high - low) * (rank - under) / held
    return found


def _mixture(test: FloatArray, control: FloatArray, scale: float) -> BoolArray:
    """The mixture SPRT of the mean bucket, which is a mean of ln seconds, of histograms (rollouts, buckets)."""
    steps = np.arange(test.shape[-1], dtype=np.float64)
    n, m = test.sum(axis=-1), control.sum(axis=-1)
    both = test + control
    mean = (both @ steps) / (n + m)
    variance = (both @ (steps * steps)) / (n + m) - mean * mean
    gap = (test @ steps) / n - (control @ steps) / m
    rejects: BoolArray = beyond_mixture(gap, variance * (1.0 / n + 1.0 / m), scale) & (n >= ENOUGH_FOR_NORMAL)
    return rejects
