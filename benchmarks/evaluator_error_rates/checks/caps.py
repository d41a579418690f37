"""The burst guard: of the mixture itself, account by account, and of every test of harm that has one."""

import itertools
import math
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.checks import drift as of_drift
from benchmarks.evaluator_error_rates.checks import runtimes as of_runtimes
from benchmarks.evaluator_error_rates.checks.checked import Checked
from benchmarks.evaluator_error_rates.oracle import means as oracle_means
from benchmarks.evaluator_error_rates.oracle import rates as oracle_rates
from benchmarks.evaluator_error_rates.oracle.caps import capped_log_es
from benchmarks.evaluator_error_rates.oracle.mixture import LATE
from benchmarks.evaluator_error_rates.oracle.rates import Row
from evaluator.statistics import means, process, rates
from evaluator.statistics.bets import Margin
from evaluator.statistics.rates import RateWindows

_ALPHAS: Final = (0.05, 0.01, 0.004, 0.0005)
_EFFECTS: Final = (1.0, 1.7, 5.0)
_LOOKS: Final = 7
_MARGINS: Final = ((0.0005, 1.1), (0.005, 1.0), (0.05, 0.0))
_ROUNDED_UP: Final = 1.0 + 1e-9
"""So that looks at the cap, as many as must agree, reach 1/alpha in spite of rounding."""


def check(seed: int, cases: int) -> Checked:
    """Random looks, some of them far beyond any cap; one, two or three looks must agree."""
    rng = np.random.default_rng([seed, 8])
    gaps: list[float] = []
    for _ in range(max(cases // 2, 1)):
        gaps += _mixture_gaps(rng)
        for margin in _MARGINS:
            gaps += _rate_gaps(rng, margin)
        gaps += [*_any_rate_gaps(rng), *_mean_gaps(rng), *of_drift.capped_gaps(rng, _cap(0.01, 3))]
    for _ in range(max(cases // 10, 1)):
        alpha, agreeing = _drawn(rng)
        gaps += of_runtimes.capped_gaps(rng, alpha, agreeing, _cap(alpha, agreeing))
    expectations = [_coin(*one) for one in itertools.product((0.0, 0.1, 0.5), (0.2, 0.7, 2.0))]
    return Checked.of("caps", gaps, expectations)


def _cap(alpha: float, agreeing: int) -> float:
    return -math.log(alpha) / agreeing * _ROUNDED_UP


def _drawn(rng: Generator) -> tuple[float, int]:
    return float(rng.choice(_ALPHAS)), int(rng.integers(1, 4))


def _mixture_gaps(rng: Generator) -> list[float]:
    """Of E, of its maximum, and of every account at the end."""
    weights = rng.uniform(0.05, 3.0, int(rng.integers(1, 14)))
    late, cap = float(rng.choice([0.0, 0.1, 0.5])), float(rng.choice([0.05, 1.0, _cap(0.004, 3), math.inf]))
    spread = float(rng.choice([0.3, 3.0, 300.0]))
    gains = rng.normal(0.0, spread, (_LOOKS, len(weights)))
    wanted, held, waiting = capped_log_es(weights.tolist(), gains.tolist(), late, cap)
    state, gaps = process.open_process(weights, late), []
    for number, look in enumerate(gains):
        state = process.advance(state, look, cap)
        greatest = max(0.0, *wanted[: number + 1])
        gaps.append(max(abs(float(state.log_e) - wanted[number]), abs(float(state.max_log_e) - greatest)))
    accounts = [*held, *([waiting] if late else [])]
    gaps.append(float(np.abs(state.log_wealth[: len(accounts)] - np.array(accounts)).max()))
    return gaps


def _rate_gaps(rng: Generator, margin: tuple[float, float]) -> list[float]:
    (alpha, agreeing), effect = _drawn(rng), float(rng.choice(_EFFECTS))
    past = 2_000, int(rng.binomial(2_000, 0.02))
    looks = [[_row(rng) for _ in range(int(rng.integers(1, 3)))] for _ in range(_LOOKS)]
    weights, gains = oracle_rates.gains(oracle_rates.harm_bets, *margin, past, looks)
    divided = [[gain / effect for gain in look] for look in gains]
    wanted, _, _ = capped_log_es(weights, divided, LATE, _cap(alpha, agreeing))
    test = rates.harm_test(Margin(*margin), alpha, *past, agreeing_looks=agreeing)
    gaps = []
    for expected, rows in zip(wanted, looks, strict=True):
        test = rates.update(test, RateWindows.of(rows), effect)
        gaps.append(abs(test.log_e - expected))
    return gaps


def _row(rng: Generator) -> Row:
    """Both arms have requests; in some windows everything fails."""
    n_test, n_stable = int(rng.integers(1, 300)), int(rng.integers(1, 900))
    rate = float(rng.choice([0.0, 0.02, 0.1, 1.0]))
    return n_test, int(rng.binomial(n_test, rate)), n_stable, int(rng.binomial(n_stable, 0.02))


def _any_rate_gaps(rng: Generator, shares: int = 3) -> list[float]:
    """Of several rates whose bets share one wealth."""
    alpha, late = float(rng.choice(_ALPHAS)), float(rng.choice([0.0, LATE, 0.4]))
    looks = [[_row(rng) for _ in range(shares)] for _ in range(_LOOKS)]
    looks[0] = [(0, 0, 500, int(rng.binomial(500, 0.05))) for _ in range(shares)]
    weights: list[float] = []
    gains: list[list[float]] = [[] for _ in looks[1:]]
    for share in range(shares):
        own, found = oracle_rates.gains(oracle_rates.harm_bets, 0.02, 1.0, (0, 0), [[look[share]] for look in looks])
        weights += own
        gains = [[*before, *more] for before, more in zip(gains, found, strict=True)]
    wanted, _, _ = capped_log_es(weights, gains, late, _cap(alpha, 3))
    test = rates.harm_test_of_any(Margin(0.02), alpha, shares, late=late)
    gaps = []
    for expected, look in zip([0.0, *wanted], looks, strict=True):
        table = np.array([look], dtype=np.float64)
        test = rates.update(test, RateWindows(*(table[..., place] for place in range(4))))
        gaps.append(abs(float(test.process.log_e) - expected))
    return gaps


def _mean_gaps(rng: Generator) -> list[float]:
    values, limit, alpha = (0.0, 0.05, 0.2, 1.0), 0.1, float(rng.choice(_ALPHAS))
    effect = float(rng.choice(_EFFECTS))
    looks = [rng.multinomial(int(rng.integers(1, 80)), rng.dirichlet(np.ones(4))).tolist() for _ in range(_LOOKS)]
    weights, gains = oracle_means.gains(values, limit, looks, harm=True)
    divided = [[gain / effect for gain in look] for look in gains]
    wanted, _, _ = capped_log_es(weights, divided, LATE, _cap(alpha, 3))
    test, gaps = means.mean_harm_test(np.array(values), limit, alpha), []
    for expected, look in zip(wanted, looks, strict=True):
        test = means.update(test, np.array(look), effect)
        gaps.append(abs(test.log_e - expected))
    return gaps


def _coin(late: float, cap: float, looks: int = 7) -> float:
    """Every path of a fair coin, on which two bets are made."""
    bets = np.log(np.array([[1.5, 1.05], [0.5, 0.95]]))
    total = []
    for path in itertools.product((0, 1), repeat=looks):
        state = process.open_process(np.array([1.0, 3.0]), late)
        for outcome in path:
            state = process.advance(state, bets[outcome], cap)
        total.append(math.exp(float(state.log_e)) / 2.0**looks)
    return math.fsum(total)
