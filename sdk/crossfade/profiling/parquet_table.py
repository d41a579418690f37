"""Tables in Parquet files, read by pyarrow, an extra."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossfade.profiling.tables import Chunk, Numbers, TableError, Texts, chunk_rows

INSTALL = "pip install 'crossfade[profile]'"


class ParquetTable:
    """A Parquet file, read some rows of a row group at a time; see `Table`.

    Args:
        path: the file.
        chunk_cells: about so many are read at a time.

    Raises:
        TableError: pyarrow is not installed, or the file is broken.
    """

    format = "parquet"
    named = True

    def __init__(self, path: Path, chunk_cells: int) -> None:
        try:
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise TableError(f"{path} is a Parquet file, which pyarrow reads: {INSTALL}") from error
        self._path = path
        self._chunk_cells = chunk_cells
        self._arrow: Any = pa
        try:
            self._file = ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{path} cannot be read: {error}") from error
        self._types = list(self._file.schema_arrow.types)
        self.names = tuple(self._file.schema_arrow.names)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice or not self.names:
            raise TableError(f"{path}: {f'the column {twice[0]!r} occurs twice' if twice else 'it has no columns'}")
        self.shape: tuple[int, ...] = (len(self.names),)
        self.notes: tuple[str, ...] = ()
        self.booleans = {place for place, one in enumerate(self._types) if pa.types.is_boolean(one)}

    def chunks(self, columns: Sequence[int], as_text: frozenset[int]) -> Iterator[Chunk]:
        """See `Table`; `as_text` changes nothing, for the file's types say what its columns are."""
        del as_text
        strange = [place for place in columns if not (self._is_number(place) or self._is_text(place))]
        if strange:
            held = ", ".join(f"{self.names[place]!r} holds {self._types[place]}" for place in strange)
            rest = ",".join(self.names[place] for place in strange)
            raise TableError(f"{self._path}: {held}, neither numbers nor texts: --exclude {rest}")
        wanted = [self.names[place] for place in columns]
        try:
            # One row group after the other: a reader of several keeps what it has read of all of them.
            for group in range(self._file.num_row_groups):
                rows = chunk_rows(self._chunk_cells, len(columns))
                for batch in self._file.iter_batches(batch_size=rows, row_groups=[group], columns=wanted):
                    yield {place: self._cells(place, batch.column(self.names[place])) for place in columns}
        except (self._arrow.ArrowException, OSError) as error:
            raise TableError(f"{self._path} cannot be read: {error}") from error

    def _is_number(self, place: int) -> bool:
        types, one = self._arrow.types, self._types[place]
        return bool(
            types.is_integer(one)
            or types.is_floating(one)
            or types.is_decimal(one)
            or types.is_boolean(one)
            or types.is_null(one)
        )

    def _is_text(self, place: int) -> bool:
        types, one = self._arrow.types, self._types[place]
        inner = one.value_type if types.is_dictionary(one) else one
        return bool(types.is_string(inner) or types.is_large_string(inner))

    def _cells(self, place: int, column: Any) -> Numbers | Texts:
        arrow = self._arrow
        if self._is_text(place):
            return [text.strip() or None if text is not None else None for text in column.to_pylist()]
        if place in self.booleans:
            column = column.cast(arrow.uint8())
        numbers: Numbers = column.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
        return numbers
