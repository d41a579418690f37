"""Stored arrays whose heads are broken: of such numpy raises many errors, and people are told one."""

import io
from pathlib import Path

import numpy as np
import pytest

from crossfade.cli.actions.arrays import load_arrays
from crossfade.cli.errors import UsageError
from crossfade.profiling import TableError, open_table

SHAPE = b"(20, 3), "


def stored() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(60, dtype=np.float32).reshape(20, 3))
    return file.getvalue()


@pytest.mark.parametrize(
    "shape",
    [b"(20, 3) (", b"(20,-3), ", b"(True,3),", b">0, 3),  ", b"(2e9, 3),", b"'" * 9, b"\0" * 9],
    ids=["no end", "less than nothing", "a truth", "no tuple", "no whole number", "quotes", "zeros"],
)
def test_a_broken_head_is_told_as_the_files_fault(tmp_path: Path, shape: bytes) -> None:
    assert len(shape) == len(SHAPE)
    file = tmp_path / "rows.npy"
    file.write_bytes(stored().replace(SHAPE, shape))
    with pytest.raises(TableError, match=r"rows\.npy cannot be read: "):
        open_table(file)
    with pytest.raises(UsageError, match="holds no arrays"):
        load_arrays(str(file))


def test_an_array_larger_than_any_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    file.write_bytes(stored().replace(SHAPE, b"(9" + b"0" * 13 + b",3),")[:500])
    with pytest.raises(UsageError, match="holds no arrays"):
        load_arrays(str(file))


def test_lists_within_lists_without_end_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text("[" * 200_000)
    with pytest.raises(UsageError, match="holds no arrays"):
        load_arrays(str(file))


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.npz"
    np.savez(file, rows=np.zeros((2, 3), np.float32))
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UsageError, match="holds no arrays"):
        load_arrays(str(file))
