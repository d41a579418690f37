"""An artifact's folder: verified when it is read, and refused when anything of it was changed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from crossfade.artifact import ArtifactError, package, read_golden, verify
from tests.integration.sdk.modules import ROWS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return package(nn.Linear(4, 2), example=ROWS, to=tmp_path / "m").path


@pytest.mark.parametrize("name", ["program.pt2", "golden.npz"])
def test_an_altered_or_truncated_or_missing_file_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    data = path.read_bytes()

    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(ArtifactError, match=f"{name} was altered: its SHA-256 is"):
        verify(folder)
    path.write_bytes(data[:-1])
    with pytest.raises(ArtifactError, match=f"{name} has {len(data) - 1} bytes instead of {len(data)}"):
        verify(folder)
    path.unlink()
    with pytest.raises(ArtifactError, match=rf"{name} can't be read \(No such file"):
        verify(folder)


def test_a_folder_without_a_manifest_or_with_another_format_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is no artifact: model\.json can't be read"):
        verify(folder.parent)
    with pytest.raises(ArtifactError, match=r"model\.json is a file: give the folder that"):
        verify(folder / "model.json")
    manifest = json.loads((folder / "model.json").read_bytes())
    (folder / "model.json").write_text(json.dumps({**manifest, "format_version": 3}))
    with pytest.raises(ArtifactError, match="upgrade crossfade"):
        verify(folder)


def test_another_file_in_the_folder_is_no_part_of_the_artifact(folder: Path) -> None:
    before = verify(folder)

    (folder / "notes.txt").write_text("hello")

    assert verify(folder) == before


def test_verifying_imports_no_torch(folder: Path) -> None:
    code = "import sys; from crossfade.artifact import verify; verify(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "False\n"


def test_golden_rows_that_do_not_fit_the_manifest_are_refused(folder: Path) -> None:
    manifest = verify(folder).manifest

    def damage(**arrays: NDArray[np.generic]) -> None:
        named = {name.replace("_", "."): array for name, array in arrays.items()}
        np.savez(folder / "golden.npz", **named)  # type: ignore[arg-type]  # mypy takes them for savez's own flag

    damage(inputs_input=ROWS[:8], outputs_output=np.zeros((8, 3), np.float32))
    with pytest.raises(ArtifactError, match=r"outputs.output must be float32 \[8, 2\], .* has float32 \[8, 3\]"):
        read_golden(folder, manifest)
    damage(inputs_input=ROWS[:8])
    with pytest.raises(ArtifactError, match=r"outputs.output must be .* the file has nothing"):
        read_golden(folder, manifest)
    damage(inputs_input=np.array([object()]))
    with pytest.raises(ArtifactError, match=r"golden.npz can't be read: .*allow_pickle"):
        read_golden(folder, manifest)
    (folder / "golden.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(ArtifactError, match=r"golden.npz can't be read"):
        read_golden(folder, manifest)
