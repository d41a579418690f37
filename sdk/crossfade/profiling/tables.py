"""What a file of training data is to the rest: columns by position, read in chunks of rows."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

CHUNK_CELLS: Final = 1 << 18
MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Texts that say that a value is missing, in lower case."""

_NPY_MAGIC: Final = b"\x93NUMPY"
_PARQUET_MAGIC: Final = b"PAR1"
_ZIP_MAGIC: Final = b"PK"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_CSV_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt"})

Numbers = NDArray[np.float64]
Texts = list[str | None]
Chunk = Mapping[int, Numbers | Texts]
"""Some rows of the columns asked for, by position: numbers with NaN where missing, or texts with None."""


class TableError(ValueError):
    """The file cannot be read as a table; the message says where and what to change."""


class Table(Protocol):
    """A file of rows and columns.

    Attributes:
        format: "csv", "npy" or "parquet".
        names: every column's name, in the file's order; its position where the file has no names.
        named: whether the file names its columns.
        shape: of one row, where the file has no names: its columns are its elements, flattened.
        notes: what its reader should know of how it was read.
        booleans: positions of the columns of truths; complete when all chunks were read.
    """

    format: str
    names: tuple[str, ...]
    named: bool
    shape: tuple[int, ...]
    notes: tuple[str, ...]
    booleans: set[int]

    def chunks(self, columns: Sequence[int], as_text: frozenset[int]) -> Iterator[Chunk]:
        """All rows of some columns, a chunk after the other. May be called once.

        Args:
            columns: their positions.
            as_text: those of them whose cells are taken as they are written, where the file holds text.

        Raises:
            TableError: a row or a cell cannot be read.
        """
        ...


def open_table(path: Path, *, header: bool = True, chunk_cells: int = CHUNK_CELLS) -> Table:
    """The table in a file, by its first bytes; text by its name.

    Args:
        path: a .csv (or .tsv), .npy or .parquet file.
        header: whether the first line of a csv file names the columns.
        chunk_cells: about so many cells are read at a time, so that memory is bounded however long the file is.

    Raises:
        TableError: there is no such file, it is of no known format, or its head is broken.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from error
    if magic.startswith(_NPY_MAGIC):
        from crossfade.profiling.npy_table import NpyTable

        return NpyTable(path, chunk_cells)
    if magic.startswith(_PARQUET_MAGIC):
        from crossfade.profiling.parquet_table import ParquetTable

        return ParquetTable(path, chunk_cells)
    if magic.startswith(_ZIP_MAGIC):
        raise TableError(f"{path} is an archive (.npz?): save its array alone, with np.save")
    if magic.startswith(_GZIP_MAGIC):
        raise TableError(f"{path} is compressed: unpack it first, with gunzip")
    if path.suffix.lower() in _CSV_SUFFIXES:
        from crossfade.profiling.csv_table import CsvTable

        return CsvTable(path, chunk_cells, header=header)
    raise TableError(f"{path} is of no known format: give a .csv, .npy or .parquet file")


def chunk_rows(chunk_cells: int, width: int) -> int:
    """Rows of a chunk, for rows of so many columns."""
    return max(1, chunk_cells // max(1, width))
