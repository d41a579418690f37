"""Tables in csv files, by the standard library's reader: numbers, truths, or texts, as their first rows show."""

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from crossfade.profiling.tables import MISSING, Chunk, Numbers, TableError, Texts, chunk_rows

_TRUTHS: Final = {"true": 1.0, "false": 0.0}
_DELIMITERS: Final = ",;\t|"
_FAULTY: Final = 0.9
"""A column with a larger share of numbers is one of numbers, and what else it holds a fault."""


class _Kind(Enum):
    UNKNOWN = auto()
    """Nothing but missing cells so far."""
    NUMBERS = auto()
    TRUTHS = auto()
    TEXTS = auto()


class CsvTable:
    """A csv file in UTF-8, with commas, semicolons, tabs or bars; see `Table`.

    Args:
        path: the file.
        chunk_cells: about so many are read at a time.
        header: whether its first line names the columns; else they are named by position.

    Raises:
        TableError: it is empty, or its first line names no columns.
    """

    format = "csv"

    def __init__(self, path: Path, chunk_cells: int, *, header: bool) -> None:
        self._chunk_cells = chunk_cells
        self.booleans: set[int] = set()
        self._path = path
        self._header = header
        with self._open() as file:
            line = _decoded(path, file)
            self._delimiter = max(_DELIMITERS, key=line.count)
            file.seek(0)
            first = next(_rows(path, file, self._delimiter), [])
        if not first:
            raise TableError(f"{path} is empty")
        self.named = header
        names, notes = _names(path, first) if header else ([str(place) for place in range(len(first))], [])
        self.names = tuple(names)
        self.notes = tuple(notes)
        self.shape: tuple[int, ...] = (len(first),)
        self._kinds = [_Kind.UNKNOWN] * len(first)
        self._as_text: frozenset[int] = frozenset()

    def chunks(self, columns: Sequence[int], as_text: frozenset[int]) -> Iterator[Chunk]:
        """See `Table`."""
        self._as_text = as_text
        before = 0
        with self._open() as file:
            rows = _rows(self._path, file, self._delimiter, len(self.names))
            if self._header:
                next(rows, None)
            while True:
                block = list(islice(rows, chunk_rows(self._chunk_cells, len(self.names))))
                if not block:
                    return
                yield {place: self._cells(place, [row[place] for row in block], before) for place in columns}
                before += len(block)

    def _open(self) -> TextIO:
        try:
            return self._path.open(encoding="utf-8-sig", newline="")
        except OSError as error:
            raise TableError(f"{self._path} cannot be read: {error.strerror}") from error

    def _cells(self, place: int, cells: list[str], before: int) -> Numbers | Texts:
        """One column's cells of a chunk. `before` is the number of rows before it."""
        if self._kinds[place] is _Kind.UNKNOWN:
            found = _kind_of(cells)
            if found in (_Kind.NUMBERS, _Kind.TRUTHS) and place in self._as_text:
                found = _Kind.TEXTS
            if found is _Kind.TRUTHS:
                self.booleans.add(place)
            self._kinds[place] = found
        kind = self._kinds[place]
        if kind is _Kind.TEXTS:
            # Texts repeat: each is looked at once.
            meant = {cell: None if cell.strip().lower() in MISSING else cell.strip() for cell in set(cells)}
            return [meant[cell] for cell in cells]
        read = _truth if kind is _Kind.TRUTHS else _number
        try:
            # Most columns have no cell that only the longer way can read.
            plain = np.array([float(cell or "nan") for cell in cells]) if kind is _Kind.NUMBERS else None
            # Python takes 20_24 for a number; in a file it is a text.
            plain = None if "_" in "".join(cells) else plain
        except ValueError:
            plain = None
        if plain is not None:
            return plain
        values = [read(cell) for cell in cells]
        if None in values:
            at = values.index(None)
            what = "neither true nor false" if kind is _Kind.TRUTHS else "no number"
            name = self.names[place]
            raise TableError(
                f"{self._path}: row {before + at + 1:,} has {cells[at]!r} in the column {name!r}, which is {what}, as "
                f"cells before it are: correct it, leave it empty, or take the column as texts: --categorical {name}"
            )
        return np.array(values, dtype=np.float64)


def _rows(path: Path, file: TextIO, delimiter: str, width: int | None = None) -> Iterator[list[str]]:
    """The rows, empty lines left out.

    Args:
        path: the file's, for messages.
        file: the open file.
        delimiter: what parts the cells.
        width: cells that each row must have.
    """
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if not row:
                continue
            if width is not None and len(row) != width:
                raise TableError(
                    f"{path}: line {reader.line_num:,} has {len(row)} cells, and the first line has {width}: are "
                    "texts with commas quoted?"
                )
            yield row
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num:,} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise _no_utf8(path) from error


def _decoded(path: Path, file: TextIO) -> str:
    try:
        return file.readline()
    except UnicodeDecodeError as error:
        raise _no_utf8(path) from error


def _no_utf8(path: Path) -> TableError:
    return TableError(f"{path} is not text in UTF-8: save it as UTF-8")


def _names(path: Path, first: list[str]) -> tuple[list[str], list[str]]:
    """The columns' names, and what to know of them."""
    cells = [cell.strip() for cell in first]
    if all(_number(cell) is not None for cell in cells) and cells != [str(place) for place in range(len(cells))]:
        raise TableError(
            f"{path}: the first line holds numbers, not names of columns: add a line of names, or say --no-header"
        )
    names = [cell or f"unnamed_{place + 1}" for place, cell in enumerate(cells)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise TableError(f"{path}: the column {twice[0]!r} occurs more than once: give each column a name of its own")
    notes = [
        f"column {place + 1} has no name, and is called {names[place]}; if it is an index: --exclude {names[place]}"
        for place, cell in enumerate(cells)
        if not cell
    ]
    return names, notes


def _kind_of(cells: Sequence[str]) -> _Kind:
    given = [cell for cell in cells if cell.strip().lower() not in MISSING]
    if not given:
        return _Kind.UNKNOWN
    if all(cell.strip().lower() in _TRUTHS for cell in given):
        return _Kind.TRUTHS
    numbers = sum(_number(cell) is not None for cell in given)
    return _Kind.NUMBERS if numbers > _FAULTY * len(given) else _Kind.TEXTS


def _number(cell: str) -> float | None:
    """The number that a cell holds, NaN where it is missing; None: it is no number."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return math.nan if cell.strip().lower() in MISSING else None


def _truth(cell: str) -> float | None:
    word = cell.strip().lower()
    return math.nan if word in MISSING else _TRUTHS.get(word)
