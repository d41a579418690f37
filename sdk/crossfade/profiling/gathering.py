"""One pass over a table: exact counts of each column, and a sample of its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from crossfade.profiling.sampling import RowSample
from crossfade.profiling.tables import MISSING, Chunk, Numbers, Table, Texts

SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds memory.

    Attributes:
        rows: of more rows a sample of so many is drawn, evenly and with a fixed seed.
        cells: numbers in the sample (128 MiB): of wide rows fewer are drawn.
        values: different values of a column of categories that are told apart.
    """

    rows: int = 200_000
    cells: int = 1 << 24
    values: int = 100_000


DEFAULT_BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """What was gathered of a column.

    Attributes:
        name: the file's name for it.
        missing: rows without a value.
        infinite: rows with an infinity.
        least: the least finite value; NaN: there is none. Of texts it says nothing, as `greatest` does.
        greatest: the greatest finite value.
        sample: [sampled rows], NaN where missing; texts by their number in `texts`.
        texts: the column's texts, each once; None: it holds numbers.
        boolean: whether its values are truths.
        counts: rows by value, or by number of the text, exact; None: not counted, or more values than bounded.
    """

    name: str
    missing: int
    infinite: int
    least: float
    greatest: float
    sample: Numbers
    texts: tuple[str, ...] | None
    boolean: bool
    counts: Mapping[float, int] | None


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What was gathered of a table.

    Attributes:
        rows: rows of the file.
        sampled: rows of the sample; all, if they are no more than fit.
        columns: by position.
    """

    rows: int
    sampled: int
    columns: Mapping[int, Column]


def gather(
    table: Table, columns: Sequence[int], *, counted: frozenset[int] = frozenset(), bounds: Bounds = DEFAULT_BOUNDS
) -> Gathered:
    """Reads some columns of a table once.

    Args:
        table: the file.
        columns: their positions, each once.
        counted: those whose values are categories or classes: each is counted, and csv cells are kept as they are
            written until all are known.
        bounds: what bounds memory.

    Raises:
        TableError: a row or a cell cannot be read.
    """
    tallies = [_Tally(bounds.values, counted=place in counted) for place in columns]
    most = max(1, min(bounds.rows, bounds.cells // max(1, len(columns))))
    sample = RowSample(most, len(columns), SEED)
    rows = 0
    for chunk in table.chunks(columns, counted):
        matrix = _matrix(chunk, columns, tallies)
        rows += len(matrix)
        sample.add(matrix)
    kept = sample.rows()
    return Gathered(
        rows,
        len(kept),
        {
            place: tally.column(table.names[place], kept[:, number], boolean=place in table.booleans)
            for number, (place, tally) in enumerate(zip(columns, tallies, strict=True))
        },
    )


def _matrix(chunk: Chunk, columns: Sequence[int], tallies: Sequence["_Tally"]) -> Numbers:
    # + 0.0 makes one value of 0.0 and -0.0.
    encoded = [tally.encoded(chunk[place]) + 0.0 for place, tally in zip(columns, tallies, strict=True)]
    for values, tally in zip(encoded, tallies, strict=True):
        tally.add(values)
    return np.column_stack(encoded)


class _Tally:
    """Exact counts of one column while it is read."""

    def __init__(self, most_values: int, *, counted: bool) -> None:
        self._most_values = most_values
        self._counted = counted
        self._missing = self._infinite = 0
        self._least, self._greatest = np.inf, -np.inf
        self._codes: dict[str | None, float] | None = None
        self._counts: dict[float, int] | None = {}

    def encoded(self, cells: Numbers | Texts) -> Numbers:
        """Numbers as they are, texts by their number, NaN for what is missing."""
        if not isinstance(cells, list):
            return cells
        if self._codes is None:
            self._codes = {None: np.nan}
        # Sorted, so that equal files give equal numbers.
        for text in sorted(text for text in set(cells) if text is not None):
            if text not in self._codes:
                if len(self._codes) <= self._most_values:
                    self._codes[text] = float(len(self._codes) - 1)
                else:
                    # Texts beyond the bound are not told apart.
                    self._counts = None
        beyond = float(self._most_values)
        return np.array([self._codes.get(text, beyond) for text in cells])

    def add(self, values: Numbers) -> None:
        """Counts what was encoded."""
        missing = int(np.isnan(values).sum())
        finite = values[np.isfinite(values)]
        self._missing += missing
        self._infinite += len(values) - missing - len(finite)
        if len(finite):
            self._least = min(self._least, float(finite.min()))
            self._greatest = max(self._greatest, float(finite.max()))
        if self._counts is not None and (self._counted or self._codes is not None):
            for value, times in zip(*np.unique(finite, return_counts=True), strict=True):
                self._counts[float(value)] = self._counts.get(float(value), 0) + int(times)
            if len(self._counts) > self._most_values:
                self._counts = None

    def column(self, name: str, sample: Numbers, *, boolean: bool) -> Column:
        """What was gathered; texts that are all numbers become numbers."""
        seen = self._least <= self._greatest
        least, greatest = (self._least, self._greatest) if seen else (np.nan, np.nan)
        counts = self._counts if self._counted or self._codes is not None else None
        texts = None if self._codes is None else tuple(text for text in self._codes if text is not None)
        if texts is not None and counts is not None and (numbers := _numbers(texts)) is not None:
            merged: dict[float, int] = {}
            infinite = 0
            for code, times in counts.items():
                value = float(numbers[int(code)])
                if np.isfinite(value):
                    merged[value] = merged.get(value, 0) + times
                else:
                    infinite += times
            known = ~np.isnan(sample)
            sample = sample.copy()
            sample[known] = numbers[sample[known].astype(np.intp)]
            extremes = (min(merged), max(merged)) if merged else (np.nan, np.nan)
            return Column(name, self._missing, infinite, *extremes, sample, None, boolean, merged)
        return Column(name, self._missing, self._infinite, least, greatest, sample, texts, boolean, counts)


def _numbers(texts: Sequence[str]) -> Numbers | None:
    """The numbers that the texts are; None: one of them is none, or there are no texts."""
    if any(text.lower() in MISSING or "_" in text for text in texts):
        return None
    try:
        return np.array([float(text) for text in texts]) + 0.0 if texts else None
    except ValueError:
        return None
