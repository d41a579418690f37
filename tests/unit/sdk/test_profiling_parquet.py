"""Parquet files, which pyarrow reads."""

import datetime as dt
import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

from crossfade.profiling import Wishes, summarise
from crossfade.profiling.opening import open_table
from crossfade.profiling.tables import TableError

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed: pip install 'crossfade[profile]'"
)


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match=r"pip install 'crossfade\[profile\]'"):
        open_table(tmp_path / "t.parquet")


@needs_pyarrow
def test_columns_of_every_kind_are_read_group_by_group(tmp_path: Path) -> None:
    import pyarrow as pa

    columns = {
        "number": pa.array([1, None, 3], pa.int32()),
        "float": pa.array([0.5, float("nan"), None], pa.float32()),
        "exact": pa.array([1, 2, None]).cast(pa.decimal128(22, 2)),
        "truth": pa.array([True, None, False]),
        "text": pa.array(["x", None, " y "]),
        "word": pa.array(["b", "b", ""]).dictionary_encode(),
        "nothing": pa.nulls(3),
    }
    table = open_table(write(tmp_path / "t.parquet", columns, row_group_size=2))
    read: dict[int, list[Any]] = {place: [] for place in range(7)}
    for chunk in table.chunks(range(7), frozenset()):
        for place, cells in chunk.items():
            read[place] += cells if isinstance(cells, list) else [None if math.isnan(one) else one for one in cells]
    assert list(read.values()) == [
        [1.0, None, 3.0],
        [0.5, None, None],
        [1.0, 2.0, None],
        [1.0, None, 0.0],
        ["x", None, "y"],
        ["b", "b", None],
        [None, None, None],
    ]
    assert (table.format, table.named, table.booleans) == ("parquet", True, {3})


@needs_pyarrow
def test_columns_that_are_neither_numbers_nor_texts_are_named(tmp_path: Path) -> None:
    columns = {"a": list(range(20)), "when": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 20, "list": [[1]] * 20}
    path = write(tmp_path / "t.parquet", columns)
    with pytest.raises(TableError, match=r"'when' holds timestamp.*'list' holds list.*--exclude when,list"):
        summarise(open_table(path), "t", Wishes())
    assert [one.name for one in summarise(open_table(path), "t", Wishes(exclude=["when", "list"])).features] == ["a"]


@needs_pyarrow
def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"a": list(range(1000))})
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(TableError, match="cannot be read"):
        open_table(path)
