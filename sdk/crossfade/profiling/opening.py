"""Which reader a file of training data takes; only that one is imported."""

from pathlib import Path
from typing import Final

from crossfade.profiling.tables import CHUNK_CELLS, Table, TableError

_NPY_MAGIC: Final = b"\x93NUMPY"
_PARQUET_MAGIC: Final = b"PAR1"
_ZIP_MAGIC: Final = b"PK"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_CSV_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt"})


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
