"""Counting live batches against the bins of a reference profile."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossfade.reference_profile import Feature, FeatureKind, Profile

Values = NDArray[np.float64]

INVALID_REASONS: Final = ("nan", "inf", "range")
# Sums of 8-bit ones don't overflow up to this many rows, and are several times faster than wider ones.
_CHUNK_ROWS = 255
LARGEST: Final = float(np.finfo(np.float64).max)


class BinCounts(NamedTuple):
    """Counts of one batch.

    Attributes:
        bins: int64 [features, most bins of any feature]; 0 beyond a feature's own bins.
        invalid: int64 [features, 3], in the order of INVALID_REASONS. Infinities are in no bin; values out of range
            are in an end bin too, so that a drift beyond the range is seen by the test, and NaN is in the bin of
            missing values where the feature has one.
    """

    bins: NDArray[np.int64]
    invalid: NDArray[np.int64]


class PartCounts(NamedTuple):
    """Counts of several batches, as in `BinCounts`: bins of each, [batches, features, bins], invalid of all."""

    bins: NDArray[np.int64]
    invalid: NDArray[np.int64]


class Binner:
    """Counts batches against the bins of some features. Make one per profile and keep it: `count` is the hot path.

    Numeric features are counted cut by cut: how many values reach it. The difference of neighbouring cuts is a
    bin's count. That takes no branch per value: with 64 features of 10 bins, 32 rows take about 40 µs.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        """Build the tables for `features`; their `index` addresses the flattened columns of a batch."""
        self._columns = np.array([feature.index for feature in features], dtype=np.intp)
        self._width = max((len(feature.proportions) for feature in features), default=1)
        self._cuts = _cut_table(features)
        self._last_bin = np.array([_numeric_bins(feature) - 1 for feature in features], dtype=np.intp)
        # Features with a bin of missing values, and that bin.
        self._gapped = np.array([i for i, one in enumerate(features) if one.missing is not None], dtype=np.intp)
        self._missing_bin = np.array([features[i].value_bins for i in self._gapped], dtype=np.intp)
        self._categorical = np.array(
            [i for i, feature in enumerate(features) if feature.kind is FeatureKind.CATEGORICAL], dtype=np.intp
        )
        self._categories = _category_table([features[i] for i in self._categorical])

    def count(self, batch: NDArray[np.generic]) -> BinCounts:
        """Count a batch [rows, ...] of any numeric or boolean dtype, flattened beyond its first dimension."""
        values = self._values(batch)
        rows = len(values)
        reached = np.zeros((self._cuts.shape[0], 1, self._columns.size), dtype=np.int64)
        equal = np.zeros((self._categories.shape[0], 1, self._categorical.size), dtype=np.int64)
        for start in range(0, rows, _CHUNK_ROWS):
            part = values[start : start + _CHUNK_ROWS]
            reached[:, 0] += _ones_per_column(part >= self._cuts)
            if self._categorical.size:
                equal[:, 0] += _ones_per_column(part[:, self._categorical] == self._categories)
        bins, invalid = self._counts(np.array([rows]), reached, equal)
        return BinCounts(bins[0], invalid)

    def count_parts(self, batch: NDArray[np.generic], sizes: NDArray[np.int64]) -> PartCounts:
        """Count batches that stand one after the other in one, a few hundred rows at most, each by itself.

        Args:
            batch: [rows, ...], as `count` takes it.
            sizes: rows of each, [batches], at least 1, of sum rows.
        """
        values = self._values(batch)
        starts = np.cumsum(sizes) - sizes
        reached = _ones_per_part(values >= self._cuts, starts)
        equal = np.zeros((self._categories.shape[0], len(sizes), 0), dtype=np.int64)
        if self._categorical.size:
            equal = _ones_per_part(values[:, self._categorical] == self._categories, starts)
        return self._counts(sizes, reached, equal)

    def _values(self, batch: NDArray[np.generic]) -> Values:
        flat = batch.reshape(batch.shape[0], math.prod(batch.shape[1:]))
        # Of a picture of some megabytes a profile has few columns.
        return flat.take(self._columns, axis=1).astype(np.float64)

    def _counts(self, sizes: NDArray[np.int64], reached: NDArray[np.int64], equal: NDArray[np.int64]) -> PartCounts:
        # reached, from the first cut on: -inf, lowest finite, low, the edges, high, +inf; each [batches, features].
        between = reached[:-1] - reached[1:]
        below, above = between[1], between[-1]
        bins = np.zeros((len(sizes), self._columns.size, self._width), dtype=np.int64)
        bins[:, :, : between.shape[0] - 3] = between[2:-1].transpose(1, 2, 0)
        bins[:, :, 0] += below
        bins[:, np.arange(self._columns.size), self._last_bin] += above
        out_of_range = below + above
        if self._categorical.size:
            bins[:, self._categorical] = self._category_bins(bins, equal)
            out_of_range[:, self._categorical] = 0
        missing = sizes[:, np.newaxis] - reached[0]
        bins[:, self._gapped, self._missing_bin] = missing[:, self._gapped]
        invalid = np.stack((missing, between[0] + reached[-1], out_of_range), axis=-1)
        return PartCounts(bins, invalid.sum(axis=0))

    def _category_bins(self, bins: NDArray[np.int64], equal: NDArray[np.int64]) -> NDArray[np.int64]:
        finite = bins[:, self._categorical].sum(axis=-1)
        counts = np.zeros((*finite.shape, self._width), dtype=np.int64)
        counts[:, :, : equal.shape[0]] = equal.transpose(1, 2, 0)
        others = np.count_nonzero(~np.isnan(self._categories[:, 0, :]), axis=0)
        counts[:, np.arange(others.size), others] = finite - equal.sum(axis=0)
        return counts


def bin_rows(profile: Profile, batch: NDArray[np.generic]) -> BinCounts:
    """Count one batch of the profiled input. For many batches keep a `Binner(profile.features)`."""
    return Binner(profile.features).count(batch)


def _cut_table(features: Sequence[Feature]) -> Values:
    """[most numeric bins + 4, 1, features]: -inf, lowest finite, low, the edges (filled up with high), high, +inf."""
    width = max((_numeric_bins(feature) for feature in features), default=1)
    table = np.full((width + 4, 1, len(features)), np.inf)
    for column, feature in enumerate(features):
        numeric = feature.kind is FeatureKind.NUMERIC
        edges = feature.edges if numeric else ()
        low = feature.low if feature.low is not None else -LARGEST
        high = feature.high if feature.high is not None else LARGEST
        filled = (-np.inf, -LARGEST, low, *edges, *[high] * (width - len(edges)))
        table[:-1, 0, column] = filled
    return table


def _category_table(features: Sequence[Feature]) -> Values:
    """[most categories, 1, features], filled up with NaN, which equals nothing."""
    table = np.full((max((len(feature.edges) for feature in features), default=0), 1, len(features)), np.nan)
    for column, feature in enumerate(features):
        table[: len(feature.edges), 0, column] = feature.edges
    return table


def _numeric_bins(feature: Feature) -> int:
    return feature.value_bins if feature.kind is FeatureKind.NUMERIC else 1


def _ones_per_column(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    counts: NDArray[np.uint8] = np.add.reduce(mask.view(np.uint8), axis=1, dtype=np.uint8)
    return counts


def _ones_per_part(mask: NDArray[np.bool_], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.add.reduceat(mask.view(np.uint8), starts, axis=1, dtype=np.int64)
    return counts
