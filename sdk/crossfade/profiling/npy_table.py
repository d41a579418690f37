"""Tables in .npy files, mapped into memory: only what is read is loaded, and nothing is ever unpickled."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crossfade.profiling.tables import Chunk, Numbers, TableError, Texts, chunk_rows

NUMERIC: Final = frozenset("biuf")
TEXTUAL: Final = frozenset("US")


class NpyTable:
    """An array [rows, ...], whose columns are its elements beyond the first dimension, flattened, or a structured
    array [rows], whose columns are its fields; see `Table`.

    Args:
        path: the file.
        chunk_cells: about so many are read at a time.

    Raises:
        TableError: it is cut short, or holds something else than numbers, truths, and texts in fields.
    """

    format = "npy"

    def __init__(self, path: Path, chunk_cells: int) -> None:
        self._path = path
        self._chunk_cells = chunk_cells
        self.notes: tuple[str, ...] = ()
        self._array = mapped(path)
        if self._array.ndim == 0:
            raise TableError(f"{path} holds a single number: its first dimension must be the rows")
        fields = self._array.dtype.names
        self.named = fields is not None
        if fields is None:
            self.shape: tuple[int, ...] = self._array.shape[1:]
            self.names = tuple(str(place) for place in range(int(np.prod(self.shape))))
            self._check(self._array.dtype, None)
        else:
            if self._array.ndim > 1:
                raise TableError(f"{path} holds records in {self._array.ndim} dimensions: give one of rows alone")
            self.names = tuple(fields)
            self.shape = (len(fields),)
        if not self.names:
            raise TableError(f"{path} has rows without columns")
        self.booleans = {place for place in range(len(self.names)) if self._dtype(place).kind == "b"}

    def chunks(self, columns: Sequence[int], as_text: frozenset[int]) -> Iterator[Chunk]:
        """See `Table`; `as_text` changes nothing, for the file's types say what its columns are."""
        del as_text
        if self.named:
            for place in columns:
                self._check(self._dtype(place), self.names[place])
        rows = len(self._array)
        step = chunk_rows(self._chunk_cells, len(self.names))
        for start in range(0, rows, step):
            part = self._array[start : start + step]
            if self.named:
                yield {place: cells_of(part[self.names[place]]) for place in columns}
            else:
                taken = part.reshape(len(part), -1)[:, list(columns)].astype(np.float64)
                yield dict(zip(columns, taken.T, strict=True))

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return len(self._array)

    def _dtype(self, place: int) -> np.dtype[Any]:
        if not self.named:
            return self._array.dtype
        field: np.dtype[Any] = self._array.dtype[self.names[place]]
        return field

    def _check(self, dtype: np.dtype[Any], field: str | None) -> None:
        # A field may hold an array per row; it would be several columns under one name.
        if dtype.kind in NUMERIC or (field is not None and dtype.kind in TEXTUAL):
            return
        where = str(self._path) if field is None else f"{self._path}: the field {field!r}"
        more = "" if field is None else f", or leave it out: --exclude {field}"
        raise TableError(f"{where} holds {dtype}, and not numbers: save it as numbers{more}")


def mapped(path: Path) -> NDArray[Any]:
    """The array in a file, mapped into memory.

    Raises:
        TableError: it is not there, cut short, no array, or holds Python objects.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # Of a broken head numpy may make anything: TokenError, OverflowError, TypeError.
        if "Python objects" in str(error):
            raise TableError(
                f"{path} holds Python objects, which are never loaded, since that can run code from the file: save "
                "numbers, with np.save(file, array.astype(np.float32))"
            ) from error
        raise TableError(f"{path} cannot be read: {error}") from error
    return array


def cells_of(values: NDArray[Any]) -> Numbers | Texts:
    """One column's cells, [rows], of numbers, truths or texts."""
    if values.dtype.kind not in TEXTUAL:
        return values.astype(np.float64)
    texts = np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
    return [str(text).strip() or None for text in texts.tolist()]
