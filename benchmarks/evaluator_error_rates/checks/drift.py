"""P3: the watch over inputs, through alarms and the ends of drifts."""

import itertools
import math
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.checks.checked import Checked
from benchmarks.evaluator_error_rates.checks.means import multinomial
from benchmarks.evaluator_error_rates.oracle.drift import Watch
from evaluator.statistics import drift
from evaluator.statistics.drift import DriftReference

_ALPHA: Final = 0.01
_PROFILES: Final = (
    (((0.5, 0.5),), 1_000),
    (((0.1,) * 10, (0.7, 0.2, 0.1), (0.97, 0.03)), 5_000),
    (((0.25,) * 4, (0.05, 0.95), (0.4, 0.3, 0.3)), 200),
)
_LOOKS: Final = 16
_TOLERANCE: Final = 0.1


def check(seed: int, cases: int) -> Checked:
    """Random looks that drift for a while and come back."""
    rng = np.random.default_rng([seed, 3])
    gaps: list[float] = []
    for shares, rows in _PROFILES:
        for _ in range(max(cases // 3, 1)):
            gaps += _gaps(rng, shares, rows)
    expectations = [_expectation(share, drifted=drifted) for share in (0.1, 0.4, 0.7) for drifted in (False, True)]
    return Checked.of("drift", gaps, expectations)


def capped_gaps(rng: Generator, cap: float) -> list[float]:
    """The same of a watch of which a look may bring only so much."""
    shares, rows = _PROFILES[int(rng.integers(len(_PROFILES)))]
    return _gaps(rng, shares, rows, cap)


def _gaps(rng: Generator, shares: tuple[tuple[float, ...], ...], rows: int, cap: float = math.inf) -> list[float]:
    test = drift.drift_test(DriftReference.of(shares, rows, _TOLERANCE, _ALPHA))
    watch = Watch(shares, rows, _TOLERANCE, _ALPHA, cap)
    moved = [rng.dirichlet(np.ones(len(one))) for one in shares]
    gaps = []
    for number in range(_LOOKS):
        now = moved if _LOOKS // 4 <= number < _LOOKS // 2 else shares
        look = [rng.multinomial(int(rng.integers(0, 120)), one).tolist() for one in now]
        effects = rng.choice([1.0, 1.5, 4.0], len(shares))
        test = drift.update(test, look, cap, effects)
        expected = watch.log_e(look, effects.tolist())
        gaps.append(abs(test.log_e - expected) if test.drifted == watch.drifted else math.inf)
    return gaps


def _expectation(share: float, *, drifted: bool, rows: int = 6) -> float:
    """Two looks of every outcome at the edge of the null: as far from the profile as is tolerated.

    A phase that ends in between has reached 1/alpha: what it had then counts, as where a rollout stops.
    """
    reference = DriftReference.of(((share, 1.0 - share),), 10_000, _TOLERANCE, 1e-9)
    edge = share + float(reference.bounds[0])
    fresh = drift.drift_test(reference)
    if drifted:
        # A drift that nobody can doubt.
        fresh = drift.update(fresh, [(100_000, 0)])
        if not fresh.drifted:
            raise AssertionError("it has not drifted")
    outcomes = [(count, rows - count) for count in range(rows + 1)]
    chances = [multinomial(one, (edge, 1.0 - edge)) for one in outcomes]
    total = []
    pairs = itertools.product(zip(outcomes, chances, strict=True), repeat=2)
    for (one, first), (other, second) in pairs:
        test = drift.update(drift.update(fresh, [one]), [other])
        total.append(first * second * math.exp(test.log_e))
    return math.fsum(total)
