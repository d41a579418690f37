"""P2: runtimes of both arms by batch size."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.checks.checked import TINY, Checked
from benchmarks.evaluator_error_rates.checks.means import multinomial
from benchmarks.evaluator_error_rates.oracle import runtimes as oracle
from benchmarks.evaluator_error_rates.oracle.caps import capped_log_es
from benchmarks.evaluator_error_rates.oracle.mixture import LATE
from benchmarks.evaluator_error_rates.oracle.runtimes import Batches
from evaluator.statistics import runtime, shapes
from evaluator.statistics.histograms import RuntimeWindows, shifted
from evaluator.statistics.runtime import RuntimeTest

_BUCKETS: Final = 40
_RATIO: Final = 2.0**0.125
_LOOKS: Final = 5
_SIZES: Final = (1, 8)
_APART: Final = (16.0, 26.0)
"""Buckets by which the slow batches are slower than the others."""
_OFF: Final = 0.011
"""Buckets by which the mean of a tilt may be off."""
_MARGINS: Final = (0, 1, 3)
_SAFE: Final = ((1, 0.5, 0.0), (2, 0.5, 0.0), (3, 0.99, 0.02))
"""Margins of non-inferiority in buckets, at which quantile, and by how large a share."""


def check(seed: int, cases: int) -> Checked:
    """Random looks of two batch sizes, the test version as fast, faster or slower; harm, median and tail."""
    rng = np.random.default_rng([seed, 4])
    gaps: list[float] = []
    for _ in range(max(cases // 3, 1)):
        past = {size: _histogram(rng, 400, 0) for size in _SIZES}
        looks = [_look(rng) for _ in range(_LOOKS)]
        for margin in _MARGINS:
            gaps += _harm_gaps(margin, past, looks)
        for margin, share, offset in _SAFE:
            gaps += _safe_gaps((margin, share, offset), past, looks)
    alike = (0.4, 0.35, 0.2, 0.05)
    pairs = ((alike, alike), ((0.1, 0.2, 0.3, 0.4),) * 2, ((0.6, 0.3, 0.08, 0.02), alike))
    return Checked.of("runtimes", gaps, [_expectation(*pair) for pair in pairs])


def capped_gaps(rng: Generator, alpha: float, agreeing: int, cap: float) -> list[float]:
    """Of harm with the burst guard of that level and so many looks; cap: in ln E, what it is to be."""
    past = {size: _histogram(rng, 400, 0) for size in _SIZES}
    looks = [_look(rng) for _ in range(_LOOKS)]
    fresh = runtime.runtime_harm_test(_BUCKETS, _RATIO, alpha, 0, agreeing_looks=agreeing)
    weights = oracle.harm_weights()

    def log_e(found: Gains) -> float:
        return capped_log_es(weights, found, LATE, cap)[0][-1] if found else 0.0

    return _gaps(fresh, past, looks, _harm_gains(0), log_e)


def _look(rng: Generator) -> list[Batches]:
    return [
        (size, _histogram(rng, int(rng.integers(0, 60)), int(rng.choice([-2, 0, 3]))), _histogram(rng, 50, 0))
        for size in _SIZES
        for _ in range(int(rng.integers(1, 3)))
    ]


def _histogram(rng: Generator, batches: int, slower: int) -> list[int]:
    """Runtimes that spread by some buckets, a few of them four or ten times as slow.

    The tail of those ten times as slow lies in the last buckets, where it is compared from further up.
    """
    apart = rng.choice(_APART)
    buckets = rng.normal(12.0 + slower, 2.0, batches) + np.where(rng.random(batches) < 0.03, apart, 0.0)
    whole = np.clip(buckets.round().astype(int), 0, _BUCKETS - 1)
    return [int(count) for count in np.bincount(whole, minlength=_BUCKETS)]


Past = dict[int, list[int]]


def _after(past: Past, looks: Sequence[Sequence[Batches]]) -> Past:
    """Control's batches up to there."""
    known = dict(past)
    for size, _, control in itertools.chain(*looks):
        known[size] = [a + int(b) for a, b in zip(known[size], control, strict=True)]
    return known


Gains = Sequence[Sequence[float]]


def _harm_gaps(margin: int, past: Past, looks: list[list[Batches]]) -> list[float]:
    fresh = runtime.runtime_harm_test(_BUCKETS, _RATIO, TINY, margin)
    return _gaps(fresh, past, looks, _harm_gains(margin), lambda found: oracle.harm_log_e(found, LATE))


def _harm_gains(margin: int) -> Callable[[Past], Callable[[Batches], list[float]]]:
    def gains(known: Past) -> Callable[[Batches], list[float]]:
        logs = {size: _alternatives(oracle.slower(known[size], margin)) for size in _SIZES}
        return lambda row: oracle.harm_gains(known[row[0]], logs[row[0]], margin, row)

    return gains


def _alternatives(past: list[float]) -> list[list[float]]:
    """ln r of every alternative, each tilt as steep as the product's; infinite where that is off."""
    mixed = shapes.log_ratios(shifted(np.array([past]), 0), _RATIO)[0]
    top = oracle.quantile(past, 0.999)
    tilts = []
    for place, slowdown in enumerate(oracle.SLOWDOWNS):
        two = [math.log((math.exp(float(mixed[place, bucket])) - 0.05) / 0.95) for bucket in (top - 1, top)]
        logs, off = oracle.tilt(past, _RATIO, slowdown, two[1] - two[0])
        tilts.append(logs if abs(off) <= _OFF else [math.inf] * len(logs))
    return [*tilts, *oracle.steps(past, _RATIO)]


def _safe_gaps(line: tuple[int, float, float], past: Past, looks: list[list[Batches]]) -> list[float]:
    margin, share, offset = line

    def gains(known: Past) -> Callable[[Batches], list[float]]:
        return lambda row: oracle.safe_gains(known[row[0]], margin, row, share=share, offset=offset)

    fresh = (
        runtime.runtime_tail_test(_BUCKETS, _RATIO, margin, offset)
        if offset
        else runtime.runtime_non_inferiority_test(_BUCKETS, _RATIO, margin, share)
    )
    return _gaps(fresh, past, looks, gains, oracle.safe_log_e)


def _gaps(
    fresh: RuntimeTest,
    past: Past,
    looks: list[list[Batches]],
    gains: Callable[[Past], Callable[[Batches], list[float]]],
    log_e: Callable[[Gains], float],
) -> list[float]:
    """What a test differs by from the oracle, look by look; gains: of a window, by what was known before its look."""
    test = runtime.seed(fresh, past.items())
    seen: list[list[float]] = []
    gaps = []
    for number, look in enumerate(looks):
        rows = list(map(gains(_after(past, looks[:number])), look))
        if any(any(row) for row in rows):
            seen.append([math.fsum(each) for each in zip(*rows, strict=True)])
        test = runtime.update(test, RuntimeWindows.of(_BUCKETS, look))  # type: ignore[arg-type] # whole numbers
        gaps.append(abs(test.log_e - log_e(seen)))
    return gaps


def _expectation(test_shares: tuple[float, ...], control_shares: tuple[float, ...]) -> float:
    """Two looks of every outcome of two batches and three of control's, in histograms of four buckets."""
    arms = []
    for shares, batches in ((test_shares, 2), (control_shares, 3)):
        found = [one for one in itertools.product(range(batches + 1), repeat=4) if sum(one) == batches]
        arms.append([(one, multinomial(one, shares)) for one in found])
    looks = [(a, b, p * q) for (a, p), (b, q) in itertools.product(*arms)]
    both = list(itertools.product(looks, repeat=2))
    test = runtime.runtime_harm_test(4, 1.5, TINY, 0, shape=(len(both),))
    past = np.broadcast_to(np.array([12.0, 10.0, 6.0, 2.0]), (len(both), 4))
    test = runtime.seed(test, [(1, past)])  # type: ignore[list-item] # of many rollouts at once
    for number in (0, 1):
        arm, control = (np.array([[pair[number][part] for pair in both]], dtype=np.float64) for part in (0, 1))
        test = runtime.update(test, RuntimeWindows((1,), arm, control))
    chances = [first[2] * second[2] for first, second in both]
    return math.fsum(
        chance * math.exp(log_e) for chance, log_e in zip(chances, test.process.log_e.tolist(), strict=True)
    )
