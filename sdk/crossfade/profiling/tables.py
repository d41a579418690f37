"""What a file of training data is to the rest: columns by position, read in chunks of rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

CHUNK_CELLS: Final = 1 << 18
MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Texts that say that a value is missing, in lower case."""


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


def chunk_rows(chunk_cells: int, width: int) -> int:
    """Rows of a chunk, for rows of so many columns."""
    return max(1, chunk_cells // max(1, width))
