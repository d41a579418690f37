"""The reference profile in numpy: made once from training data, counted against live batches.

Both sides use the same binning, so that a drift test needs counts only (population stability index and two-sample
tests on bins of equal mass in the reference).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossfade.binner import LARGEST, Values
from crossfade.reference_profile import MAX_FEATURES, Feature, FeatureKind, Profile
from crossfade.tensor_spec import TensorSpec

DEFAULT_BINS = 10
MAX_CATEGORIES = 64
MIN_REFERENCE_ROWS = 10
# Of a wider input only this many evenly spaced columns are looked at.
MAX_CANDIDATES = 1024


class ProfileError(ValueError):
    """No profile can be made of this reference; the message says what to change."""


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
    low, high = max(least - spread, -LARGEST), min(greatest + spread, LARGEST)
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
