"""Files of training data: what is read of them, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crossfade.profiling.opening import open_table
from crossfade.profiling.tables import CHUNK_CELLS, Numbers, Table, TableError, Texts


def known(cells: Numbers | Texts) -> list[Any]:
    """Cells with None for what is missing."""
    return cells if isinstance(cells, list) else [None if np.isnan(value) else float(value) for value in cells]


def read(table: Table, as_text: frozenset[int] = frozenset()) -> list[list[Any]]:
    """Every column, its chunks one after the other; missing values as None."""
    columns: list[list[Any]] = [[] for _ in table.names]
    for chunk in table.chunks(range(len(table.names)), as_text):
        for place, cells in chunk.items():
            columns[place] += known(cells)
    return columns


def csv(folder: Path, text: str, *, header: bool = True, chunk_cells: int = CHUNK_CELLS) -> Table:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return open_table(folder / "t.csv", header=header, chunk_cells=chunk_cells)


def npy(folder: Path, array: NDArray[Any], chunk_cells: int = CHUNK_CELLS) -> Table:
    np.save(folder / "t.npy", array)
    return open_table(folder / "t.npy", chunk_cells=chunk_cells)


def test_a_csv_has_numbers_truths_and_texts(tmp_path: Path) -> None:
    table = csv(tmp_path, 'age,ok,plan\n31,true,basic\n,False,"a, b"\nNaN,,n/a\n1e3,TRUE, pro \n')
    assert (table.format, table.named, table.names) == ("csv", True, ("age", "ok", "plan"))
    assert read(table) == [[31.0, None, None, 1000.0], [1.0, 0.0, None, 1.0], ["basic", "a, b", None, "pro"]]
    assert table.booleans == {1}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_first_line_shows_what_parts_the_cells(tmp_path: Path, delimiter: str) -> None:
    assert read(csv(tmp_path, f"\ufeffa{delimiter}b\n1{delimiter}2\n\n3{delimiter}4\n")) == [[1.0, 3.0], [2.0, 4.0]]


def test_a_csv_is_read_in_chunks(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f"{'' if row < 3 else row},x{row}\n" for row in range(9))
    # The first chunk of `a` is empty: its kind shows later.
    assert read(csv(tmp_path, text, chunk_cells=4)) == [
        [None] * 3 + [float(row) for row in range(3, 9)],
        [f"x{n}" for n in range(9)],
    ]


def test_columns_taken_as_text_keep_what_is_written(tmp_path: Path) -> None:
    assert read(csv(tmp_path, 'code\n007\n\n8\n-\n""\n'), frozenset({0})) == [["007", "8", "-", None]]


def test_what_only_python_takes_for_a_number_is_a_text(tmp_path: Path) -> None:
    assert read(csv(tmp_path, "month\n2024_01\n2024_02\n")) == [["2024_01", "2024_02"]]
    with pytest.raises(TableError, match="row 21 has '2_0' in the column 'a', which is no number"):
        read(csv(tmp_path, "a\n" + "1\n" * 20 + "2_0\n", chunk_cells=10))


def test_without_a_header_columns_have_positions(tmp_path: Path) -> None:
    table = csv(tmp_path, "1,2\n3,4\n", header=False)
    assert (table.named, table.names, read(table)) == (False, ("0", "1"), [[1.0, 3.0], [2.0, 4.0]])


def test_an_index_without_a_name_is_pointed_out(tmp_path: Path) -> None:
    table = csv(tmp_path, ",a\n0,1\n")
    assert table.names == ("unnamed_1", "a")
    assert table.notes == ("column 1 has no name, and is called unnamed_1; if it is an index: --exclude unnamed_1",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, and the first line has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells"),
        ("a,a\n1,2\n", "the column 'a' occurs more than once"),
        ("0.5,7\n1,2\n", "holds numbers, not names of columns: add a line of names, or say --no-header"),
        ("a\n" + "1\n" * 20 + "x\n", r"row 21 has 'x' in the column 'a', which is no number.*--categorical a"),
        ("a\n" + "true\n" * 20 + "3\n", "row 21 has '3' in the column 'a', which is neither true nor false"),
        ('a\n"1\n', "line 2 cannot be read: unexpected end of data"),
    ],
)
def test_what_is_wrong_in_a_csv_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(csv(tmp_path, text, chunk_cells=15))


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("größe\n1\n".encode("latin-1"))
    with pytest.raises(TableError, match="save it as UTF-8"):
        open_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"a\n" + b"1\n" * 20_000 + "ö\n".encode("latin-1"))
    with pytest.raises(TableError, match="save it as UTF-8"):
        read(open_table(tmp_path / "t.csv"))


def test_an_array_is_flattened_beyond_its_rows(tmp_path: Path) -> None:
    table = npy(tmp_path, np.arange(12, dtype=np.int16).reshape(3, 2, 2))
    assert (table.format, table.named, table.shape, table.names) == ("npy", False, (2, 2), ("0", "1", "2", "3"))
    assert read(table) == [[0.0, 4.0, 8.0], [1.0, 5.0, 9.0], [2.0, 6.0, 10.0], [3.0, 7.0, 11.0]]


def test_an_array_is_mapped_and_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    table = npy(tmp_path, np.asfortranarray(np.arange(20.0).reshape(5, 4)), chunk_cells=8)
    chunks = list(table.chunks([3], frozenset()))
    assert [chunk[3].tolist() for chunk in chunks if not isinstance(chunk[3], list)] == [
        [3.0, 7.0],
        [11.0, 15.0],
        [19.0],
    ]


def test_records_have_names(tmp_path: Path) -> None:
    records = np.array([(1.5, "x", True), (np.nan, "", False)], dtype=[("a", "f4"), ("b", "U4"), ("c", "?")])
    table = npy(tmp_path, records)
    assert (table.named, table.names, table.booleans) == (True, ("a", "b", "c"), {2})
    assert read(table) == [[1.5, None], ["x", None], [1.0, 0.0]]


def test_one_column_may_have_no_second_dimension(tmp_path: Path) -> None:
    assert read(npy(tmp_path, np.array([True, False]))) == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1, "a", None], dtype=object), "holds Python objects, which are never loaded"),
        (np.array(["a", "b"]), "holds <U1, and not numbers"),
        (np.array([1 + 2j]), "holds complex128, and not numbers"),
        (np.array(3.0), "its first dimension must be the rows"),
        (np.zeros((4, 0)), "has rows without columns"),
        (np.zeros(3, dtype=[("when", "M8[s]"), ("a", "f4")]), "the field 'when' holds .*--exclude when"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path, array: NDArray[Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(npy(tmp_path, array))


def test_an_array_cut_short_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.zeros(100))
    (tmp_path / "t.npy").write_bytes((tmp_path / "t.npy").read_bytes()[:300])
    with pytest.raises(TableError, match="cannot be read"):
        open_table(tmp_path / "t.npy")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "No such file"),
        ("a.txt2", b"hello", "is of no known format: give a .csv, .npy or .parquet file"),
        ("a.npz", b"PK\x03\x04", "is an archive"),
        ("a.csv.gz", b"\x1f\x8b\x08", "is compressed: unpack it first"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        open_table(tmp_path / name)
