"""Distances between a reference histogram and a live one: shown to people, never tested.

Looked at continuously they are mostly noise in small samples (the mean of PSI with no drift at all is
(bins-1)*(1/n + 1/m)): show them from ENOUGH_TO_SHOW observations on.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from evaluator.statistics.counts import FloatArray

ENOUGH_TO_SHOW: Final = 1000


def psi(reference: npt.ArrayLike, live: npt.ArrayLike, real: npt.ArrayLike = True) -> FloatArray:
    """Return the population stability index sum (p-q) ln(p/q) over the last axis, in nats.

    reference, live: counts (..., bins), of any size. Half an observation is added to each bin, so that an
    empty one does not make it infinite; a histogram without observations has distance NaN, as in the two
    functions below.
    real: (..., bins) false for a bin that its histogram does not have, in a row filled up with zeros.
    """
    first, second = _counts(reference), _counts(live)
    half = 0.5 * np.asarray(real)
    p, q = _proportions(first + half), _proportions(second + half)
    return _known(first, second, ((p - q) * np.log(_ratios(p, q))).sum(axis=-1))


def jensen_shannon(reference: npt.ArrayLike, live: npt.ArrayLike) -> FloatArray:
    """Return the Jensen-Shannon divergence over the last axis in bits, in [0, 1]."""
    first, second = _counts(reference), _counts(live)
    p, q = _proportions(first), _proportions(second)
    middle = 0.5 * (p + q)
    bits = 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))
    return _known(first, second, np.clip(bits, 0.0, 1.0))


def largest_shift(reference: npt.ArrayLike, live: npt.ArrayLike) -> FloatArray:
    """Return the greatest distance between the cumulative shares over the last axis, in [0, 1].

    It is the Kolmogorov-Smirnov statistic of the binned values, and the distance that `drift` bounds.
    """
    first, second = _counts(reference), _counts(live)
    gaps = np.abs(_proportions(first).cumsum(axis=-1) - _proportions(second).cumsum(axis=-1))
    return _known(first, second, gaps.max(axis=-1))


def _counts(values: npt.ArrayLike) -> FloatArray:
    counts = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError("counts must be finite and not negative")
    return counts


def _proportions(counts: FloatArray) -> FloatArray:
    shares: FloatArray = counts / np.maximum(counts.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    return shares


def _relative_entropy(p: FloatArray, q: FloatArray) -> FloatArray:
    bits: FloatArray = (p * np.log2(_ratios(p, q))).sum(axis=-1)
    return bits


def _ratios(p: FloatArray, q: FloatArray) -> FloatArray:
    """p / q, and 1 where p is 0."""
    present = p > 0
    ratios: FloatArray = np.where(present, p, 1.0) / np.where(present, q, 1.0)
    return ratios


def _known(first: FloatArray, second: FloatArray, distance: FloatArray) -> FloatArray:
    seen = (first.sum(axis=-1) > 0) & (second.sum(axis=-1) > 0)
    return np.where(seen, distance, np.nan)
