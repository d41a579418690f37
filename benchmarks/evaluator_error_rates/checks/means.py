"""Means of histograms against a number; of three values those of mirrored rows."""

import itertools
import math
from typing import Final

import numpy as np

from benchmarks.evaluator_error_rates.checks.checked import TINY, Checked
from benchmarks.evaluator_error_rates.oracle import means as oracle
from benchmarks.evaluator_error_rates.oracle.mixture import LATE
from evaluator.statistics import means
from evaluator.statistics.means import MeanTest

_VALUES: Final = ((0.0, 1.0), (0.0, 0.5, 1.0), (0.0, 0.01, 0.02, 0.05, 0.2, 1.0))
_LIMITS: Final = (0.02, 0.1, 0.52)
_LOOKS: Final = 6


def check(seed: int, cases: int) -> Checked:
    """Random looks, some of them beyond the limit, and both sides."""
    rng = np.random.default_rng([seed, 2])
    gaps: list[float] = []
    for values, limit in itertools.product(_VALUES, _LIMITS):
        for _ in range(max(cases // 3, 1)):
            shares = rng.dirichlet(np.ones(len(values)))
            looks = [rng.multinomial(int(rng.integers(0, 50)), shares).tolist() for _ in range(_LOOKS)]
            gaps += _gaps(values, limit, looks)
    expectations = [
        _expectation(harm=harm, values=(0.0, 0.5, 1.0), shares=shares)
        for harm in (True, False)
        for shares in ((0.5, 0.46, 0.04), (0.2, 0.58, 0.22), (0.05, 0.3, 0.65))
    ]
    return Checked.of("means", gaps, expectations)


def _tests(values: tuple[float, ...], limit: float, alpha: float) -> tuple[MeanTest, MeanTest]:
    return means.mean_harm_test(np.array(values), limit, alpha), means.mean_safe_test(np.array(values), limit)


def _gaps(values: tuple[float, ...], limit: float, looks: list[list[int]]) -> list[float]:
    gaps = []
    for test, harm, late in zip(_tests(values, limit, TINY), (True, False), (LATE, 0.0), strict=True):
        now = test
        for number, counts in enumerate(looks, start=1):
            now = means.update(now, np.array(counts))
            gaps.append(abs(now.log_e - oracle.log_e(values, limit, looks[:number], harm=harm, late=late)))
    return gaps


def _expectation(*, harm: bool, values: tuple[float, ...], shares: tuple[float, ...], rows: int = 4) -> float:
    """Two looks of every outcome where the mean is the limit itself."""
    limit = math.fsum(value * share for value, share in zip(values, shares, strict=True))
    fresh = _tests(values, limit, 0.3)[0 if harm else 1]
    outcomes = [one for one in itertools.product(range(rows + 1), repeat=len(values)) if sum(one) == rows]
    chances = [multinomial(one, shares) for one in outcomes]
    total = []
    for one, first in zip(outcomes, chances, strict=True):
        test = means.update(fresh, np.array(one))
        for other, second in zip(outcomes, chances, strict=True):
            total.append(first * second * math.exp(means.update(test, np.array(other)).log_e))
    return math.fsum(total)


def multinomial(counts: tuple[int, ...], shares: tuple[float, ...]) -> float:
    """The probability of those counts."""
    ways = math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))
    return ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))
