"""Which columns of a file are a model's input, which are watched, and which one is the label."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossfade.profile import MAX_CANDIDATES, evenly_spaced
from crossfade.profiling.tables import MISSING, Table, TableError
from crossfade.reference_profile import MAX_FEATURES


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for, columns by name; by position, counted from 0, where the file has no names.

    Attributes:
        features: the columns to watch; empty: all, or 64 evenly spaced ones.
        exclude: columns that are no input of the model.
        label: the column of the right answers, which is no input either; empty: there is none.
        categorical: columns whose values are categories.
        codes: by column of texts, the texts that the numbers 0, 1, 2 … stand for.
    """

    features: Sequence[str] = ()
    exclude: Sequence[str] = ()
    label: str = ""
    categorical: Sequence[str] = ()
    codes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """Positions in the file.

    Attributes:
        inputs: the columns of the model's input, in its order.
        chosen: those of them that are looked at.
        by_wish: whether `chosen` was asked for by name.
        label: the label's column; None: there is none.
        categorical: columns of categories.
        codes: by column, its texts in the order of their numbers.
    """

    inputs: tuple[int, ...]
    chosen: tuple[int, ...]
    by_wish: bool
    label: int | None
    categorical: frozenset[int]
    codes: Mapping[int, tuple[str, ...]]


def select(table: Table, wishes: Wishes) -> Selection:
    """The columns that were asked for.

    Raises:
        TableError: a column is not there, or is asked for in ways that contradict one another.
    """
    label = _place(table, wishes.label, "--label") if wishes.label else None
    excluded = {_place(table, name, "--exclude") for name in wishes.exclude}
    if label is not None and label in excluded:
        raise TableError(f"--exclude: {wishes.label!r} is the label, which is no input anyway")
    inputs = tuple(place for place in range(len(table.names)) if place != label and place not in excluded)
    if not inputs:
        raise TableError("no column is left to look at")
    known = frozenset(inputs)
    chosen = _inputs_of(table, wishes.features, "--features", known)
    if len(set(chosen)) > MAX_FEATURES:
        raise TableError(f"--features: {len(set(chosen))} were chosen; a profile holds at most {MAX_FEATURES}")
    codes = dict(zip(_inputs_of(table, tuple(wishes.codes), "--codes", known), wishes.codes.values(), strict=True))
    for place, texts in codes.items():
        if len(set(texts)) != len(texts):
            raise TableError(f"--codes: {table.names[place]!r} has a text twice: each has one number")
        missing = [text for text in texts if text.strip().lower() in MISSING]
        if missing:
            raise TableError(
                f"--codes: {missing[0]!r} says in a file that a value of {table.names[place]!r} is missing, and has no "
                "number: write it otherwise in the file, or leave it out"
            )
    return Selection(
        inputs,
        tuple(dict.fromkeys(chosen)) if chosen else tuple(evenly_spaced(inputs, MAX_CANDIDATES)),
        bool(chosen),
        label,
        frozenset(_inputs_of(table, wishes.categorical, "--categorical", known)) | frozenset(codes),
        {place: tuple(texts) for place, texts in codes.items()},
    )


def _inputs_of(table: Table, names: Sequence[str], option: str, inputs: frozenset[int]) -> list[int]:
    places = [_place(table, name, option) for name in names]
    for place in places:
        if place not in inputs:
            raise TableError(f"{option}: {table.names[place]!r} is the label or excluded, and so no input of the model")
    return places


def _place(table: Table, name: str, option: str) -> int:
    if table.named:
        if name in table.names:
            return table.names.index(name)
        near = difflib.get_close_matches(name, table.names, n=3, cutoff=0.5)
        few = ", ".join(table.names[:8]) + (" …" if len(table.names) > 8 else "")
        hint = f"did you mean {' or '.join(near)}?" if near else f"the file has {few}"
        raise TableError(f"{option}: there is no column {name!r}; {hint}")
    if name.isdecimal() and int(name) < len(table.names):
        return int(name)
    raise TableError(
        f"{option}: {name!r} is no column: the file has no names, so say positions, 0 to {len(table.names) - 1}"
    )
