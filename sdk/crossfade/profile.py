"""The reference profile in numpy: made once from training data, counted against live batches.

Both sides use the same binning, so that a drift test needs counts only (population stability index and two-sample
tests on bins of equal mass in the reference).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossfade.manifest import TensorSpec
from crossfade.reference_profile import MAX_FEATURES, Feature, FeatureKind, Profile

DEFAULT_BINS = 10
MAX_CATEGORIES = 64
MIN_REFERENCE_ROWS = 10
# Of a wider input only this many evenly spaced columns are looked at.
MAX_CANDIDATES = 1024
INVALID_REASONS: Final = ("nan", "inf", "range")

# Sums of 8-bit ones don't overflow up to this many rows, and are several times faster than wider ones.
_CHUNK_ROWS = 255
_LARGEST = float(np.finfo(np.float64).max)

Values = NDArray[np.float64]


class ProfileError(ValueError):
    """No profile can be made of this reference; the message says what to change."""


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
        rows = batch.shape[0]
        values = batch.reshape(rows, math.prod(batch.shape[1:])).astype(np.float64).take(self._columns, axis=1)
        reached = np.zeros((self._cuts.shape[0], self._columns.size), dtype=np.int64)
        equal = np.zeros((self._categories.shape[0], self._categorical.size), dtype=np.int64)
        for start in range(0, rows, _CHUNK_ROWS):
            part = values[start : start + _CHUNK_ROWS]
            reached += _ones_per_column(part >= self._cuts)
            if self._categorical.size:
                equal += _ones_per_column(part[:, self._categorical] == self._categories)
        return self._counts(rows, reached, equal)

    def _counts(self, rows: int, reached: NDArray[np.int64], equal: NDArray[np.int64]) -> BinCounts:
        # reached, from the first cut on: -inf, lowest finite, low, the edges, high, +inf.
        between = reached[:-1] - reached[1:]
        below, above = between[1], between[-1]
        bins = np.zeros((self._columns.size, self._width), dtype=np.int64)
        bins[:, : between.shape[0] - 3] = between[2:-1].T
        bins[:, 0] += below
        bins[np.arange(bins.shape[0]), self._last_bin] += above
        out_of_range = below + above
        if self._categorical.size:
            bins[self._categorical] = self._category_bins(bins, equal)
            out_of_range[self._categorical] = 0
        missing = rows - reached[0]
        bins[self._gapped, self._missing_bin] = missing[self._gapped]
        invalid = np.stack((missing, between[0] + reached[-1], out_of_range), axis=1)
        return BinCounts(bins, invalid)

    def _category_bins(self, bins: NDArray[np.int64], equal: NDArray[np.int64]) -> NDArray[np.int64]:
        finite = bins[self._categorical].sum(axis=1)
        counts = np.zeros((self._categorical.size, self._width), dtype=np.int64)
        counts[:, : equal.shape[0]] = equal.T
        others = np.count_nonzero(~np.isnan(self._categories[:, 0, :]), axis=0)
        counts[np.arange(others.size), others] = finite - equal.sum(axis=0)
        return counts


def bin_rows(profile: Profile, batch: NDArray[np.generic]) -> BinCounts:
    """Count one batch of the profiled input. For many batches keep a `Binner(profile.features)`."""
    return Binner(profile.features).count(batch)


def build_profile(
    spec: TensorSpec,
    reference: NDArray[np.generic],
    *,
    names: Sequence[str] | None = None,
    features: Sequence[int | str] | None = None,
    categorical: Sequence[int | str] = (),
    bins: int = DEFAULT_BINS,
    classes: Mapping[str, float] | None = None,
    predictions: NDArray[np.generic] | None = None,
) -> Profile:
    """Make the reference profile of one input from reference rows.

    The input is flattened beyond the batch; each column is a feature. Columns that never change are dropped. If
    more than 64 are left and `features` does not choose, 64 are taken that are evenly spaced in the row.

    Args:
        spec: the profiled input.
        reference: its reference rows, [rows, *spec.shape[1:]]. NaN gets a bin of its own; infinities are left out.
        names: a name per column; by default `input[i,j]`.
        features: the columns to take, by name or position.
        categorical: columns whose values are categories, by name or position; booleans always are.
        bins: the number of bins of equal mass. A value with more mass than a bin gets one of its own.
        classes: proportion of each predicted class.
        predictions: a regression's predictions for the reference, [rows] or [rows, 1].

    Raises:
        ProfileError: too few rows, a name that no column has, more than 64 features.
    """
    rows = reference.shape[0]
    if rows < MIN_REFERENCE_ROWS:
        raise ProfileError(f"a reference of {rows} rows says too little: give at least {MIN_REFERENCE_ROWS}")
    columns = reference.reshape(rows, -1)
    labels = column_names(spec, names)
    if features is None:
        chosen = evenly_spaced(range(len(labels)), MAX_CANDIDATES)
    else:
        chosen = _positions(features, labels)
        if len(chosen) > MAX_FEATURES:
            raise ProfileError(f"features: {len(chosen)} were chosen; a profile holds at most {MAX_FEATURES}")
    categories = frozenset(range(len(labels)) if reference.dtype == np.bool_ else _positions(categorical, labels))
    chosen = [column for column in chosen if changes(columns[:, column])]
    made = (
        bin_feature(labels[column], column, columns[:, column], bins, categorical=column in categories)
        for column in evenly_spaced(chosen, MAX_FEATURES)
    )
    prediction = None
    if predictions is not None and changes(predictions.reshape(-1)):
        prediction = bin_feature("prediction", 0, _finite(predictions.reshape(-1)), bins)
    return Profile.of(spec.name, rows, tuple(made), classes, prediction)


def column_names(spec: TensorSpec, names: Sequence[str] | None) -> list[str]:
    """The features' names, one per column of the input, flattened: those given, or `input[i,j]`.

    Raises:
        ProfileError: there are more names than columns, or fewer.
    """
    if names is None:
        shape = spec.shape[1:]
        return [f"{spec.name}[{','.join(map(str, place))}]" if shape else spec.name for place in np.ndindex(shape)]
    if len(names) != spec.width:
        raise ProfileError(f"feature_names: {len(names)} names for the {spec.width} columns of input {spec.name!r}")
    return [str(name) for name in names]


def _positions(chosen: Sequence[int | str], labels: Sequence[str]) -> list[int]:
    positions = []
    for item in chosen:
        if isinstance(item, str) and item in labels:
            positions.append(labels.index(item))
        elif not isinstance(item, str) and 0 <= item < len(labels):
            positions.append(int(item))
        else:
            raise ProfileError(f"{item!r} is no feature: the columns are {labels[0]!r} to {labels[-1]!r}")
    return positions


def evenly_spaced(items: Sequence[int], most: int) -> list[int]:
    """All items, or `most` of them from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _finite(values: NDArray[np.generic]) -> Values:
    # + 0.0 makes one value of 0.0 and -0.0.
    numbers = values.astype(np.float64) + 0.0
    return numbers[np.isfinite(numbers)]


def changes(values: NDArray[np.generic]) -> bool:
    """Whether a column has more than one value, beside NaN and infinities: only then it can be watched."""
    finite = _finite(values)
    return bool(finite.size) and bool(finite.min() < finite.max())


def bin_feature(
    name: str, index: int, values: NDArray[np.generic], bins: int = DEFAULT_BINS, *, categorical: bool = False
) -> Feature:
    """The bins of one column that changes, and the proportions in them.

    Args:
        name: the feature's.
        index: its column in the profiled input, flattened.
        values: [rows]; NaN is missing, infinities are left out.
        bins: the number of bins of equal mass. A value with more mass than a bin gets one of its own.
        categorical: each of the 64 most frequent values is a bin, the others share one.
    """
    finite = _finite(values)
    missing = int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
    distinct, counts = np.unique(finite, return_counts=True)
    if categorical:
        most_frequent = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
        kept = np.sort(most_frequent)
        masses = np.append(counts[kept], finite.size - counts[kept].sum())
        edges = distinct[kept]
        return Feature(name, index, FeatureKind.CATEGORICAL, _floats(edges), _shares(masses, missing), None, None)
    edges = _equal_mass_edges(distinct, counts, bins)
    masses = np.bincount(np.searchsorted(edges, finite, side="right"), minlength=edges.size + 1)
    least, greatest = float(distinct[0]), float(distinct[-1])
    spread = greatest - least
    # A whole width beyond the reference: live values just outside what a finite sample showed are no fault.
    low, high = max(least - spread, -_LARGEST), min(greatest + spread, _LARGEST)
    return Feature(name, index, FeatureKind.NUMERIC, _floats(edges), _shares(masses, missing), low, high)


def _floats(values: Values) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _shares(masses: NDArray[np.integer], missing: int) -> tuple[float, ...]:
    all_masses = np.append(masses, missing) if missing else masses
    return tuple(round(float(mass), 6) for mass in all_masses / all_masses.sum())


def _equal_mass_edges(distinct: Values, counts: NDArray[np.integer], bins: int) -> Values:
    """Inner edges for bins of about equal mass, between neighbouring values of the reference.

    A value heavier than a bin stands alone; each stretch between such values is cut into as many bins as its mass
    allows, at the values nearest to equal mass. Edges lie halfway between values, so that 0 and 0.0000001 agree.
    """
    target = counts.sum() / bins
    heavy = np.flatnonzero(counts > target)
    last_of_bin = {*heavy, *(heavy - 1)}
    starts, ends = (0, *(heavy + 1)), (*heavy, counts.size)
    for start, end in zip(starts, ends, strict=True):
        reached = np.cumsum(counts[start:end])
        pieces = round(float(reached[-1]) / target) if reached.size else 0
        for piece in range(1, pieces):
            nearest = np.abs(reached - piece * reached[-1] / pieces).argmin()
            last_of_bin.add(start + nearest)
    cuts = np.array(sorted(i for i in last_of_bin if 0 <= i < counts.size - 1), dtype=np.intp)
    lower, upper = distinct[cuts], distinct[cuts + 1]
    middle = lower / 2 + upper / 2
    # Between neighbouring floating-point numbers there is no middle.
    return np.where(middle > lower, middle, upper)


def _cut_table(features: Sequence[Feature]) -> Values:
    """[most numeric bins + 4, 1, features]: -inf, lowest finite, low, the edges (filled up with high), high, +inf."""
    width = max((_numeric_bins(feature) for feature in features), default=1)
    table = np.full((width + 4, 1, len(features)), np.inf)
    for column, feature in enumerate(features):
        numeric = feature.kind is FeatureKind.NUMERIC
        edges = feature.edges if numeric else ()
        low = feature.low if feature.low is not None else -_LARGEST
        high = feature.high if feature.high is not None else _LARGEST
        filled = (-np.inf, -_LARGEST, low, *edges, *[high] * (width - len(edges)))
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
