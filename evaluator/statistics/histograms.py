"""Histograms of runtimes over geometric buckets, kept apart by batch size.

Bucket 0 ends at the first bound, bucket i spans bounds i-1 to i, the last one is open: `len(bounds) + 1`
buckets. With a ratio g between bounds, multiplying every runtime by g**k moves its bucket up by exactly k,
which makes a margin of k buckets exact; only the two open buckets are approximate, both in favour of the null
of harm.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from evaluator.statistics.counts import FloatArray, checked_counts, frozen

_SMOOTHING: Final = 0.7
_REACH: Final = 8
_GAUSSIAN: Final = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SMOOTHING) ** 2)
_KERNEL: Final = (_GAUSSIAN / _GAUSSIAN.sum())[:, np.newaxis, np.newaxis]


@dataclass(frozen=True, slots=True, eq=False)
class RuntimeWindows:
    """The windows of one look, one row per instance and batch size.

    batches: (rows) the batch size of each. test, control: (rows, *shape, buckets) counts of batches by runtime,
    `shape` that of the state they are for: () but in simulations.
    Raises ValueError for counts that are negative, not whole or not finite, and for arms of different shape.
    """

    batches: tuple[int, ...]
    test: FloatArray
    control: FloatArray
    n_test: FloatArray = field(init=False, repr=False)
    n_control: FloatArray = field(init=False, repr=False)
    """(rows, *shape) the sums over the buckets."""

    def __post_init__(self) -> None:
        test = checked_counts("test", self.test)
        control = checked_counts("control", self.control)
        if test.shape != control.shape or test.ndim < 2 or len(test) != len(self.batches):
            raise ValueError(
                f"test and control need one row of buckets per batch size, got {test.shape} and {control.shape} "
                f"for {len(self.batches)} batch sizes"
            )
        if any(batch < 1 for batch in self.batches):
            raise ValueError(f"batch sizes must be at least 1, got {min(self.batches)}")
        object.__setattr__(self, "test", test)
        object.__setattr__(self, "control", control)
        object.__setattr__(self, "n_test", frozen(test.sum(axis=-1)))
        object.__setattr__(self, "n_control", frozen(control.sum(axis=-1)))

    @classmethod
    def of(cls, buckets: int, rows: Iterable[tuple[int, Sequence[int], Sequence[int]]]) -> Self:
        """Return the windows of rows (batch size, test's counts, control's counts), in an order that does not vary."""
        table = list(rows)
        for batch, test, control in table:
            if len(test) != buckets or len(control) != buckets:
                raise ValueError(f"batch size {batch} has {len(test)} and {len(control)} buckets instead of {buckets}")
        return cls(
            tuple(batch for batch, _, _ in table),
            np.array([test for _, test, _ in table], dtype=np.float64).reshape(-1, buckets),
            np.array([control for _, _, control in table], dtype=np.float64).reshape(-1, buckets),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """The control arm's histograms so far: `counts` (batch sizes, *shape, buckets), in ascending order of `batches`."""

    batches: tuple[int, ...]
    counts: FloatArray

    @classmethod
    def empty(cls, buckets: int, shape: tuple[int, ...] = ()) -> Self:
        """Return a past without observations. Raises ValueError for fewer than 3 buckets."""
        if buckets < 3:
            raise ValueError(f"a histogram needs at least 3 buckets, got {buckets}")
        return cls((), frozen(np.zeros((0, *shape, buckets))))

    def rows(self, batches: Sequence[int]) -> npt.NDArray[np.intp]:
        """Return the row of each of `batches`, all of which the past must know."""
        places = {batch: row for row, batch in enumerate(self.batches)}
        return np.array([places[batch] for batch in batches], dtype=np.intp)

    def knowing(self, batches: Iterable[int]) -> "Past":
        """Return the past with a row of zeros for each batch size that it had not seen."""
        known = tuple(sorted({*self.batches, *batches}))
        if known == self.batches:
            return self
        wider = Past(known, np.zeros((len(known), *self.counts.shape[1:])))
        wider.counts[wider.rows(self.batches)] = self.counts
        return Past(known, frozen(wider.counts))

    def plus(self, batches: Sequence[int], counts: FloatArray) -> "Past":
        """Return the past with `counts` (rows, *shape, buckets) added, all of whose batch sizes it must know."""
        total = self.counts.copy()
        np.add.at(total, self.rows(batches), counts)
        return Past(self.batches, frozen(total))


def geometric_ratio(bounds: Sequence[float]) -> float:
    """Return the ratio g between neighbouring bounds. Raises ValueError where the bounds are not geometric."""
    if len(bounds) < 2 or not all(math.isfinite(bound) and bound > 0 for bound in bounds):
        raise ValueError(
            "bounds must be at least two finite, positive numbers; the runtime test needs geometric bounds"
        )
    ratio = float((bounds[-1] / bounds[0]) ** (1.0 / (len(bounds) - 1)))
    expected = bounds[0] * ratio ** np.arange(len(bounds))
    if ratio <= 1.0 or not np.allclose(bounds, expected, rtol=1e-3 * (ratio - 1.0), atol=0.0):
        raise ValueError(
            "bounds must be geometric, each the one before times the same ratio; the runtime test needs "
            "a histogram view with such bounds"
        )
    return ratio


def shifted(counts: FloatArray, buckets: int) -> FloatArray:
    """Return histograms (..., buckets) made slower by `buckets` buckets; the last, open one takes the rest."""
    if buckets == 0:
        return counts
    slower = np.zeros_like(counts)
    slower[..., buckets:] = counts[..., :-buckets]
    slower[..., -1] += counts[..., -buckets:].sum(axis=-1)
    return slower


def smoothed(counts: FloatArray) -> FloatArray:
    """Return proportions (rows, buckets) of `counts`, blurred by a Gaussian of 0.7 buckets.

    The blur stands for what the past has not seen yet, and is light enough in its tails to be tilted.
    """
    rows, buckets = counts.shape
    wide = np.zeros((rows, buckets + 4 * _REACH))
    wide[:, 2 * _REACH : -2 * _REACH] = counts
    # What each bucket gets of its neighbours, from the one furthest above it on.
    neighbours = sliding_window_view(wide, len(_KERNEL), axis=1)[..., ::-1]
    padded = (np.moveaxis(neighbours, -1, 0) * _KERNEL).sum(axis=0)
    blurred = padded[:, _REACH:-_REACH]
    blurred[:, 0] += padded[:, :_REACH].sum(axis=-1)
    blurred[:, -1] += padded[:, -_REACH:].sum(axis=-1)
    proportions: FloatArray = blurred / blurred.sum(axis=-1, keepdims=True)
    return proportions


def at_least(counts: FloatArray, bucket: npt.NDArray[np.intp]) -> FloatArray:
    """Return the sum per row of `counts` (rows, buckets) from the row's `bucket` (rows) on."""
    total: FloatArray = np.where(np.arange(counts.shape[-1]) >= bucket[:, np.newaxis], counts, 0.0).sum(axis=-1)
    return total


def quantile_bucket(counts: FloatArray, quantile: float) -> npt.NDArray[np.intp]:
    """Return the bucket that holds the quantile, per row of `counts` (rows, buckets).

    At least 1 - quantile of the row lies in that bucket or above, and no more than quantile below.
    """
    return quantile_buckets(counts, (quantile,))[0]


def quantile_buckets(counts: FloatArray, quantiles: Sequence[float]) -> list[npt.NDArray[np.intp]]:
    """Return `quantile_bucket` of each of the quantiles."""
    cumulative = counts.cumsum(axis=-1)
    total = cumulative[..., -1:]
    return [np.asarray((cumulative > quantile * total).argmax(axis=-1)) for quantile in quantiles]
