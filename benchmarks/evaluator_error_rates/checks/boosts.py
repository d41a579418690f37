"""Tests of superiority: boosted without a margin, as they are with one or where rows are alike."""

import itertools
import math
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.checks.checked import Checked
from benchmarks.evaluator_error_rates.oracle.boosts import Superiority, hypergeometric
from benchmarks.evaluator_error_rates.oracle.rates import Row
from evaluator.statistics import rates
from evaluator.statistics.rates import RateWindows

_ALPHAS: Final = (0.2, 0.05, 0.01, 0.0005)
_BETTER: Final = (0.0, 0.0, 0.0, 0.01, 0.05)
_EFFECTS: Final = (1.0, 1.0, 1.0, 2.5)
_AGREEING: Final = (0, 0, 1, 2, 3)
_LOOKS: Final = 5
_ARMS: Final = (0, 1, 8, 60, 400, 5_000)
_LARGE: Final = 10_000_000
"""Requests of an arm in a window of which few are bad."""
_NULLS: Final = ((0.05, 1.0, 0.5), (0.3, 1.0, 0.6), (0.3, 1.4, 0.6), (0.8, 1.0, 0.05))
"""The stable arm's rate, how many times it the test arm's is, and alpha."""
_TOTALS: Final = ((50, 6, 60, 9), (300, 2, 6_000, 90), (10**6, 20, 9 * 10**6, 220))


def check(seed: int, cases: int) -> Checked:
    """Random rollouts; windows of few requests to many, with nearly none bad to nearly all."""
    rng = np.random.default_rng([seed, 7])
    gaps: list[float] = []
    for number in range(cases):
        for alpha in _ALPHAS:
            gaps += _gaps(rng, alpha, large=number % 4 == 0)
    expectations = [
        _expectation(*one) for one in ((0.05, 1.0, 0.5), (0.3, 1.0, 0.6), (0.3, 1.4, 0.6), (0.8, 1.0, 0.05))
    ]
    expectations += [_filled(row) for row in ((50, 6, 60, 9), (300, 2, 6_000, 90), (10**6, 20, 9 * 10**6, 220))]
    return Checked.of("boosts", gaps, expectations)


def _gaps(rng: Generator, alpha: float, *, large: bool) -> list[float]:
    better, effect = (float(rng.choice(these)) for these in (_BETTER, _EFFECTS))
    rate = float(rng.choice([0.001, 0.02, 0.1, 0.5, 0.95]))
    n = int(rng.choice([100, 400, 20_000]))
    x = int(rng.binomial(n, rate * rng.choice([0.2, 1.0, 1.0])))
    agreeing = int(rng.choice(_AGREEING))
    opened = rates.superiority_test(better, alpha, agreeing_looks=agreeing)
    test = rates.update(opened, RateWindows.of([(0, 0, n, x)]))
    wanted = Superiority(better, alpha, (n, x), agreeing)
    gaps = []
    for look in range(_LOOKS):
        rows = [_row(rng, rate) for _ in range(int(rng.integers(1, 4)))]
        if large and not look:
            rows = [(_LARGE, int(rng.integers(0, 900)), _LARGE, int(rng.integers(0, 900)))]
        test = rates.update(test, RateWindows.of(rows), effect)
        wanted.look(rows, effect)
        gaps.append(abs(test.log_e - (wanted.log_e - wanted.held_back)))
    return gaps


def _row(rng: Generator, rate: float) -> Row:
    n_test, n_stable = (int(rng.choice(_ARMS)) for _ in range(2))
    lower = rate * float(rng.choice([1.0, 0.9, 0.5]))
    return n_test, int(rng.binomial(n_test, lower)), n_stable, int(rng.binomial(n_stable, rate))


def _expectation(rate: float, worse: float, alpha: float, n_test: int = 3, n_stable: int = 3) -> float:
    """Two looks of every outcome, the test arm alike or worse: of E where the test stops, at 1/alpha or at the end."""
    test_rate = min(rate * worse, 1.0)
    opened = rates.update(rates.superiority_test(0.0, alpha), RateWindows.of([(0, 0, 200, 90)]))
    outcomes = list(itertools.product(range(n_test + 1), range(n_stable + 1)))
    chances = [_binomial(n_test, x, test_rate) * _binomial(n_stable, y, rate) for x, y in outcomes]
    total = []
    for (x, y), first in zip(outcomes, chances, strict=True):
        once = rates.update(opened, RateWindows.of([(n_test, x, n_stable, y)]))
        for (further, others), second in zip(outcomes, chances, strict=True):
            twice = rates.update(once, RateWindows.of([(n_test, further, n_stable, others)]))
            last = once if once.max_log_e >= -math.log(alpha) else twice
            total.append(first * second * min(math.exp(last.log_e), 1.0 / alpha))
    return math.fsum(total)


def _filled(row: Row, alpha: float = 0.05) -> float:
    """Every outcome of one window with these totals, versions alike: of E after it, truncated where it decides."""
    n_test, x_test, n_stable, x_stable = row
    past = RateWindows.of([(0, 0, 1_000, 1_000 * (x_test + x_stable) // (n_test + n_stable))])
    opened = rates.update(rates.superiority_test(0.0, alpha), past)
    total = []
    for bad, chance in hypergeometric(row).items():
        if chance > Decimal("1e-20"):
            after = rates.update(opened, RateWindows.of([(n_test, bad, n_stable, x_test + x_stable - bad)]))
            total.append(float(chance) * min(math.exp(after.log_e), 1.0 / alpha))
    return math.fsum(total)


def _binomial(n: int, x: int, rate: float) -> float:
    return math.comb(n, x) * rate**x * (1.0 - rate) ** (n - x)
