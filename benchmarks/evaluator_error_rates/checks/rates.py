"""P1: two rates, and one rate against a limit."""

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.checks.checked import TINY, Checked
from benchmarks.evaluator_error_rates.oracle import rates as oracle
from benchmarks.evaluator_error_rates.oracle.mixture import LATE
from benchmarks.evaluator_error_rates.oracle.rates import Bets, Row
from evaluator.statistics import rates
from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.rates import RateTest, RateWindows

_MARGINS: Final = (
    (0.0, 1.0),
    (0.0005, 1.1),
    (0.0025, 1.5),
    (0.005, 1.0),
    (0.02, 1.0),
    (0.05, 1.0),
    (-0.02, 1.0),
    (0.05, 0.0),
)
_LOOKS: Final = 6


def check(seed: int, cases: int) -> Checked:
    """Random rollouts of some looks, of both sides and all margins."""
    rng = np.random.default_rng(seed)
    gaps: list[float] = []
    for _ in range(cases):
        for a, b in _MARGINS:
            past = int(rng.integers(100, 5_000))
            rate = float(rng.choice([0.0, 0.005, 0.08, 0.4]))
            known = past, int(rng.binomial(past, rate))
            looks = [_rows(rng, rate) for _ in range(_LOOKS)]
            gaps += _gaps((a, b), known, looks)
    expectations = [
        _expectation(margin, stable) for margin in (*_MARGINS[:6], _MARGINS[-1]) for stable in (0.01, 0.16, 0.5)
    ]
    return Checked.of("rates", gaps, expectations)


def _gaps(margin: tuple[float, float], past: Row | tuple[int, int], looks: Sequence[Sequence[Row]]) -> list[float]:
    gaps = []
    n, x = past[0], past[1]
    sides: tuple[tuple[RateTest, Bets, float], ...] = (
        (rates.harm_test(Margin(*margin), TINY, n, x), oracle.harm_bets, LATE),
        (rates.non_inferiority_test(Margin(*margin), n, x), oracle.safe_bets, 0.0),
    )
    for fresh, bets, late in sides:
        test = fresh
        for number, rows in enumerate(looks, start=1):
            test = rates.update(test, RateWindows.of(rows))
            gaps.append(abs(test.log_e - oracle.log_e(bets, *margin, (n, x), looks[:number], late)))
    return gaps


def _rows(rng: Generator, rate: float) -> list[Row]:
    """Windows of up to three instances, one arm now and then without requests."""
    rows = []
    for _ in range(int(rng.integers(1, 4))):
        n_test, n_stable = int(rng.integers(0, 60)), int(rng.integers(0, 1_000))
        worse = min(rate + float(rng.choice([0.0, 0.02, 0.2])), 1.0)
        rows.append((n_test, int(rng.binomial(n_test, worse)), n_stable, int(rng.binomial(n_stable, rate))))
    return rows


def _expectation(margin: tuple[float, float], stable: float, n_test: int = 3, n_stable: int = 4) -> float:
    """Two looks of every outcome at the null's edge, where E is greatest: the average of E after the second."""
    edge = margin[0] + margin[1] * stable
    greatest = 0.0
    outcomes = list(itertools.product(range(n_test + 1), range(n_stable + 1)))
    chances = [_binomial(n_test, x, edge) * _binomial(n_stable, y, stable) for x, y in outcomes]
    for side in Side:
        fresh = (
            rates.harm_test(Margin(*margin), 0.3, 120, 20)
            if side is Side.HARM
            else rates.non_inferiority_test(Margin(*margin), 120, 20)
        )
        total = []
        for one, first_chance in zip(outcomes, chances, strict=True):
            test = rates.update(fresh, RateWindows.of([(n_test, one[0], n_stable, one[1])]))
            for other, second_chance in zip(outcomes, chances, strict=True):
                after = rates.update(test, RateWindows.of([(n_test, other[0], n_stable, other[1])]))
                total.append(first_chance * second_chance * math.exp(after.log_e))
        greatest = max(greatest, math.fsum(total))
    return greatest


def _binomial(n: int, x: int, rate: float) -> float:
    return math.comb(n, x) * rate**x * (1.0 - rate) ** (n - x)
