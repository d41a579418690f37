"""Runtimes of batches, and their histograms."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evaluator.statistics.histograms import RuntimeWindows
from evaluator.statistics.process import log_threshold
from evaluator.statistics.runtime import (
    RuntimeTest,
    seed,
    update,
)

RATIO = 2 ** (1 / 8)
BOUNDS = 0.5e-3 * RATIO ** np.arange(60)
BUCKETS = len(BOUNDS) + 1
Times = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


def histogram(times: npt.NDArray[np.float64]) -> list[int]:
    counts = np.bincount(np.searchsorted(BOUNDS, times, side="left"), minlength=BUCKETS)
    return [int(count) for count in counts]


def lognormal(factor: float = 1.0, deviation: float = 0.35) -> Times:
    return lambda rng, n: factor * rng.lognormal(math.log(0.003), deviation, n)


def with_past(test: RuntimeTest, times: Times, n: int = 2000) -> RuntimeTest:
    return seed(test, [(1, histogram(times(np.random.default_rng(1), n)))])


def batches_until(
    test: RuntimeTest, test_times: Times, control_times: Times, *, alpha: float, looks: int, seed_: int
) -> float:
    """Return the test arm's batches at the first crossing, 10 a look in each arm; infinity without one."""
    rng = np.random.default_rng(seed_)
    for look in range(looks):
        row = 1, histogram(test_times(rng, 10)), histogram(control_times(rng, 10))
        test = update(test, RuntimeWindows.of(BUCKETS, [row]))
        if test.log_e >= log_threshold(alpha):
            return 10.0 * (look + 1)
    return math.inf
