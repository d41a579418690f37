"""From a table to its summary and its reference profile, in one pass over the file."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from crossfade.profile import (
    MIN_REFERENCE_ROWS,
    ProfileError,
    bin_feature,
    changes,
    column_names,
    evenly_spaced,
)
from crossfade.profiling.binning import category_bins, range_bins, text_bins
from crossfade.profiling.gathering import DEFAULT_BOUNDS, Bounds, Column, gather
from crossfade.profiling.selection import Selection, Wishes, select
from crossfade.profiling.summary import FeatureSummary, LabelSummary, LeftOut, Summary
from crossfade.profiling.tables import Table
from crossfade.reference_profile import MAX_FEATURES, FeatureKind, Profile
from crossfade.tensor_spec import DType, TensorSpec

MAX_CLASSES: Final = 1_000
"""A label with more values is no class."""
DEFAULT_INPUT: Final = "input"


def summarise(
    table: Table, source: str, wishes: Wishes, input_name: str | None = None, bounds: Bounds = DEFAULT_BOUNDS
) -> Summary:
    """Reads a table once, and says what is in it.

    Args:
        table: the file.
        source: its name.
        wishes: the columns that were asked for.
        input_name: the model's input that the columns are.
        bounds: what bounds memory.

    Raises:
        TableError: a column is not there, or a row or a cell cannot be read.
        ProfileError: there are too few rows, or a column that was asked for cannot be watched.
        FieldError: a name cannot be one of a feature or a class.
    """
    selection = select(table, wishes)
    label_place = [] if selection.label is None else [selection.label]
    gathered = gather(
        table,
        [*selection.chosen, *label_place],
        counted=selection.categorical | frozenset(label_place),
        bounds=bounds,
    )
    if gathered.rows < MIN_REFERENCE_ROWS:
        raise ProfileError(
            f"{source} has {gathered.rows} rows, which say too little: give at least {MIN_REFERENCE_ROWS}"
        )
    columns = {place: _coded(gathered.columns[place], selection.codes.get(place)) for place in selection.chosen}
    names = _feature_names(table, selection, input_name)
    watched, left_out = _watched(columns, selection, names)
    index = {place: number for number, place in enumerate(selection.inputs)}
    features = tuple(
        _feature(names[place], index[place], columns[place], gathered.rows, selection, place) for place in watched
    )
    label = None if selection.label is None else _label(gathered.columns[selection.label], gathered.rows)
    texts = [one.name for one in columns.values() if one.texts is not None]
    obstacle = _obstacle(texts, features, labelled=label is not None)
    profile = None
    if not obstacle:
        made = tuple(one.feature for one in features if one.feature is not None)
        classes = None if label is None else label.classes
        profile = Profile.of(input_name or DEFAULT_INPUT, gathered.sampled, made, classes, None)
    return Summary(
        source=source,
        format=table.format,
        rows=gathered.rows,
        sampled=gathered.sampled,
        input=input_name,
        named=table.named,
        width=len(selection.inputs),
        features=features,
        label=label,
        left_out=left_out,
        notes=table.notes,
        obstacle=obstacle,
        profile=profile,
    )


def _coded(column: Column, codes: tuple[str, ...] | None) -> Column:
    """The column with the numbers that its texts are for the model."""
    if codes is None:
        return column
    if column.texts is None:
        raise ProfileError(f"--codes: {column.name!r} holds numbers already: leave it out of --codes")
    unknown = [text for text in column.texts if text not in codes]
    if unknown or column.counts is None:
        some = ", ".join(map(repr, unknown[:5])) + (" …" if unknown[5:] else "")
        raise ProfileError(f"--codes: {column.name!r} has {some} besides: name every text, in the order of its numbers")
    if not column.counts:
        raise ProfileError(f"--codes: {column.name!r} has no value in any row: leave it out")
    numbers = np.array([float(codes.index(text)) for text in column.texts])
    known = ~np.isnan(column.sample)
    sample = column.sample.copy()
    sample[known] = numbers[sample[known].astype(np.intp)]
    counts = {float(numbers[int(code)]): times for code, times in column.counts.items()}
    return Column(column.name, column.missing, 0, min(counts), max(counts), sample, None, False, counts)


def _feature_names(table: Table, selection: Selection, input_name: str | None) -> dict[int, str]:
    """The features' names by position in the file, as `package` gives them."""
    shape = table.shape if len(selection.inputs) == math.prod(table.shape) else (len(selection.inputs),)
    spec = TensorSpec(input_name or DEFAULT_INPUT, DType.FP32, (-1, *shape))
    labels = [table.names[place] for place in selection.inputs] if table.named else column_names(spec, None)
    return dict(zip(selection.inputs, labels, strict=True))


def _watched(
    columns: Mapping[int, Column], selection: Selection, names: Mapping[int, str]
) -> tuple[list[int], tuple[LeftOut, ...]]:
    """Positions of at most 64 columns, and those left out."""
    without = [place for place, one in columns.items() if np.isnan(one.least)]
    empty = [place for place in without if not columns[place].infinite]
    infinite = [place for place in without if columns[place].infinite]
    still = [place for place, one in columns.items() if place not in without and not changes(one.sample)]
    gone = {*without, *still}
    unwatched = (
        ("has ", "no value in any row", empty),
        ("has ", "nothing but infinities", infinite),
        ("", "never changes", still),
    )
    for verb, why, places in unwatched:
        if places and selection.by_wish:
            name = names[places[0]]
            raise ProfileError(f"--features: {name!r} {verb}{why}, so that nothing can be watched in it: leave it out")
    taken = evenly_spaced([place for place in columns if place not in gone], MAX_FEATURES)
    beyond = [] if selection.by_wish else [place for place in selection.inputs if place not in {*gone, *taken}]
    reasons = (
        *((why, places) for _, why, places in unwatched),
        (f"a profile holds {MAX_FEATURES} features, and these are evenly spaced; choose: --features a,b,c", beyond),
    )
    return taken, tuple(
        LeftOut(why, tuple(names[place] for place in sorted(places))) for why, places in reasons if places
    )


def _feature(name: str, index: int, column: Column, rows: int, selection: Selection, place: int) -> FeatureSummary:
    missing = column.missing / rows
    values = None if column.counts is None else len(column.counts)
    if column.texts is not None:
        bins = text_bins(column.texts, column.counts, column.missing)
        return FeatureSummary(name, index, FeatureKind.CATEGORICAL, missing, 0, None, None, None, values, bins, None)
    categorical = column.boolean or place in selection.categorical
    feature = bin_feature(name, index, column.sample, categorical=categorical)
    if categorical:
        bins = category_bins(feature, selection.codes.get(place))
        values = len(feature.edges) if column.boolean else values
        return FeatureSummary(
            name, index, feature.kind, missing, column.infinite, None, None, None, values, bins, feature
        )
    return FeatureSummary(
        name,
        index,
        feature.kind,
        missing,
        column.infinite,
        column.least,
        _median(column),
        column.greatest,
        values,
        range_bins(feature, column.sample),
        feature,
    )


def _label(column: Column, rows: int) -> LabelSummary:
    missing = column.missing / rows
    if column.missing == rows:
        raise ProfileError(f"--label: {column.name!r} has no value in any row")
    classes = _class_counts(column)
    if classes is not None:
        total = sum(classes.values())
        ordered = sorted(classes.items(), key=lambda item: (-item[1], item[0]))
        return LabelSummary(column.name, missing, {name: round(times / total, 6) for name, times in ordered})
    if column.texts is not None:
        return LabelSummary(column.name, missing, None)
    return LabelSummary(column.name, missing, None, column.least, _median(column), column.greatest)


def _class_counts(column: Column) -> dict[str, int] | None:
    """Rows by class: texts, or whole numbers; None: they are no classes, or too many."""
    if column.counts is None or len(column.counts) > MAX_CLASSES:
        return None
    if column.texts is not None:
        return {column.texts[int(code)]: times for code, times in column.counts.items()}
    if not column.counts or any(value != round(value) for value in column.counts):
        return None
    return {str(int(value)): times for value, times in column.counts.items()}


def _median(column: Column) -> float:
    finite = column.sample[np.isfinite(column.sample)]
    return float(np.median(finite)) if finite.size else float("nan")


def _obstacle(texts: Sequence[str], features: Sequence[FeatureSummary], *, labelled: bool) -> str:
    """Why no profile can be made; empty: it can."""
    if not features:
        return "no column has values that change: nothing can be watched"
    if not texts:
        return ""
    which = ", ".join(texts[:8]) + (" …" if len(texts) > 8 else "")
    holds = "holds" if len(texts) == 1 else "hold"
    return (
        f"{which} {holds} texts, and a model takes numbers: say which number each text is for the model "
        f"(--codes {texts[0]}=A,B,C makes them 0, 1, 2), or leave out what is no input of it "
        f"(--exclude {','.join(texts)}{'' if labelled else '; --label names the right answers'})"
    )
