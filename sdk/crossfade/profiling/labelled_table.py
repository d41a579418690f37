"""An array in one .npy file with its labels in another."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from crossfade.profiling.npy_table import NUMERIC, TEXTUAL, NpyTable, cells_of, mapped
from crossfade.profiling.tables import Chunk, Table, TableError


class LabelledTable:
    """A .npy file with one more column, the last; see `Table`.

    Args:
        table: the file.
        name: the labels' name.
        labels: [rows].
    """

    format = "npy"

    def __init__(self, table: NpyTable, name: str, labels: NDArray[Any]) -> None:
        self._table = table
        self._labels = labels
        self.names = (*table.names, name)
        self.named = table.named
        self.shape = table.shape
        self.notes = table.notes
        self.booleans = table.booleans
        self.label = name if table.named else str(len(table.names))
        """How the column of labels is asked for."""

    def chunks(self, columns: Sequence[int], as_text: frozenset[int]) -> Iterator[Chunk]:
        """See `Table`."""
        last = len(self.names) - 1
        start = 0
        for chunk in self._table.chunks([place for place in columns if place != last], as_text):
            end = start + len(next(iter(chunk.values())))
            yield {**chunk, last: cells_of(self._labels[start:end])} if last in columns else chunk
            start = end


def with_labels(table: Table, path: Path) -> LabelledTable:
    """A .npy file and the labels of its rows.

    Args:
        table: the file.
        path: a .npy file of [rows] or [rows, 1].

    Raises:
        TableError: the labels are not as many as the rows, or neither numbers nor texts.
    """
    if not isinstance(table, NpyTable):
        raise TableError(f"--label: a file of labels goes with a .npy file: name a column of the {table.format} file")
    labels = mapped(path)
    if labels.ndim > 1 and labels.shape[1:] != (1,):
        raise TableError(f"--label: {path.name} has {labels[0].size if len(labels) else 0} columns; labels are one")
    labels = labels.reshape(-1)
    if len(labels) != table.rows:
        raise TableError(f"--label: {path.name} has {len(labels)} labels for {table.rows} rows")
    if labels.dtype.kind not in NUMERIC | TEXTUAL:
        raise TableError(f"--label: {path.name} holds {labels.dtype}, neither numbers nor texts")
    return LabelledTable(table, path.name, labels)
