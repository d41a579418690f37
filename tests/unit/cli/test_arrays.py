"""Files of arrays that the command writes."""

from pathlib import Path

import numpy as np
import pytest

from crossfade.cli.actions.arrays import load_arrays, save_arrays


def test_outputs_are_written_whatever_their_names_are(tmp_path: Path) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    named = {name: rows + number for number, name in enumerate(("file", "allow_pickle", "a/b", "x.npy", "größe"))}
    save_arrays(tmp_path / "out.npz", named)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as stored:
        assert stored.files == list(named)
    found = load_arrays(str(tmp_path / "out.npz"))
    for name, array in named.items():
        np.testing.assert_array_equal(found[name], array)


def test_what_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        save_arrays(tmp_path, {"output": np.zeros(1)})
