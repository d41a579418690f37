"""Many rollouts at once: the product's tests of runtimes, test process against control process.

Histograms have 48 buckets of the product's ratio instead of its 143, enough for all that happens here; one batch size;
a batch holds two requests on average.
"""

import math
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.gates import bars
from benchmarks.evaluator_error_rates.scenarios import INSTANCES, WAITING_LOOKS, Conditions, Scenario
from evaluator.gates.distributions import RATIO
from evaluator.statistics import runtime
from evaluator.statistics.bets import Side
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.histograms import RuntimeWindows, shifted
from evaluator.statistics.runtime import RuntimeTest
from services.common.policy.metrics import MetricKind

BUCKETS: Final = 48
MEDIAN: Final = 12
"""Bucket of the usual median."""
SPREAD: Final = 0.35
"""Standard deviation of the logarithm of a batch's seconds."""
_PER_BATCH: Final = 2.0


def shape(buckets: int = BUCKETS, slower: float = 0.0) -> FloatArray:
    """Probabilities of the buckets. slower: log of the factor by which the median is."""
    places = (np.arange(1, buckets) - MEDIAN) * math.log(RATIO) - slower
    below = np.array([0.5 * (1.0 + math.erf(place / SPREAD / math.sqrt(2.0))) for place in places])
    return np.diff(below, prepend=0.0, append=1.0)


def opened(side: Side, rollouts: int) -> RuntimeTest:
    """A fresh test for each of many rollouts, with the gate's own margin and level."""
    bar = bars()[MetricKind.RUNTIME]
    if side is Side.HARM:
        return runtime.runtime_harm_test(BUCKETS, RATIO, bar.alpha, bar.gate.harm.buckets, shape=(rollouts,))
    return runtime.runtime_non_inferiority_test(BUCKETS, RATIO, bar.gate.safe.buckets, shape=(rollouts,))


def run(
    scenario: Scenario,
    side: Side,
    rng: Generator,
    rollouts: int,
    looks: int,
    *,
    worse: int = 0,
    against_stable: bool = False,
) -> FloatArray:
    """The greatest ln E at any look, (rollouts).

    Args:
        scenario: what happens to both arms.
        side: of the test.
        rng: where chance comes from.
        rollouts: how many.
        looks: of each, without those of the wait.
        worse: buckets by which the test version is slower than control.
        against_stable: compares with stable's own warm process instead of control's, which the product never does.
    """
    test = opened(side, rollouts)
    greatest = np.zeros(rollouts)
    world = scenario.make(rng, rollouts, looks)
    usual = shape()
    for look in range(-WAITING_LOOKS, looks):
        now = world(look)
        share = float(now.share)
        if not share:
            continue
        mean = now.requests * INSTANCES * min(share, 1.0 - share) / _PER_BATCH
        arm, control = (
            rng.multinomial(rng.poisson(mean, (len(INSTANCES), rollouts)), usual).astype(np.float64) for _ in range(2)
        )
        arm = _slowed(arm, now, worse + now.cold)
        control = _slowed(control, now, 0.0 if against_stable else now.cold)
        if not now.judged:
            arm = np.zeros(arm.shape)
        test = runtime.update(test, RuntimeWindows((1,) * len(INSTANCES), arm, control))
        np.maximum(greatest, test.process.log_e, out=greatest)
    return greatest


def _slowed(counts: FloatArray, now: Conditions, more: float) -> FloatArray:
    """Histograms (instances, rollouts, buckets) by as many buckets slower as each rollout's look is."""
    slower = np.broadcast_to(np.asarray(now.slower) + more, counts.shape[1:-1])
    result = counts.copy()
    for buckets in np.unique(slower[slower > 0]):
        where = slower == buckets
        result[:, where] = shifted(counts[:, where], int(buckets))
    return result
