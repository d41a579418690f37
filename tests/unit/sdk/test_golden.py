"""Golden rows from a file that was made to do harm."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from crossfade.artifact.folder import AnsweredRows, ArtifactError, read_golden, write_golden
from crossfade.manifest import FileEntry, Golden, Kind, Manifest, Task, Tolerance
from crossfade.tensor_spec import DType, Signature, TensorSpec

ROWS = 4
MANIFEST = Manifest(
    format_version=1,
    created_by="test",
    kind=Kind.TORCH_EXPORT,
    torch="2.13.0",
    program="program.pt2",
    task=Task.OTHER,
    signature=Signature(
        inputs=(TensorSpec("x", DType.FP32, (-1, 3)),),
        outputs=(TensorSpec("y", DType.FP32, (-1,)),),
    ),
    max_batch=8,
    classes=None,
    positive_class=None,
    scores=None,
    profile=None,
    golden=Golden("golden.npz", ROWS),
    tolerance=Tolerance(0.0, 0.0),
    files=(FileEntry("golden.npz", "0" * 64, 1), FileEntry("program.pt2", "0" * 64, 1)),
)


def stored(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def headed(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header


def archive(parts: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return file.getvalue()


def encrypted(data: bytes) -> bytes:
    """Said to be, in the archive's directory."""
    changed = bytearray(data)
    changed[data.index(b"PK\1\2") + 8] |= 1
    return bytes(changed)


X = np.arange(3 * ROWS, dtype=np.float32).reshape(ROWS, 3)
Y = np.arange(ROWS, dtype=np.float32)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_golden(tmp_path / "golden.npz", AnsweredRows({"x": X}, {"y": Y}))
    golden = read_golden(tmp_path, MANIFEST)
    np.testing.assert_array_equal(golden.inputs["x"], X)
    np.testing.assert_array_equal(golden.outputs["y"], Y)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (stored(X), "can't be read"),
        (archive({"inputs.x": b"x" * 48, "outputs.y.npy": stored(Y)}), "the file has nothing"),
        (archive({"inputs.x.npy": b"no array", "outputs.y.npy": stored(Y)}), "the file has nothing"),
        (
            archive({"inputs.x.npy": stored(X[:, :2])}),
            r"float32 \[4, 2\]: the manifest was .*; package the model again",
        ),
        (archive({"inputs.x.npy": headed(b"(" * 5_000)}), "can't be read"),
        (
            archive({"inputs.x.npy": headed(b"{'descr':'<f4','fortran_order':False,'shape':(1<<60,)}\n")}),
            "can't be read",
        ),
        (encrypted(archive({"inputs.x.npy": stored(X)})), "can't be read"),
        (archive({"inputs.x.npy": stored(np.array([object()]))}), "can't be read"),
    ],
)
def test_files_that_make_numpy_fail(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "golden.npz").write_bytes(data)
    with pytest.raises(ArtifactError, match=words):
        read_golden(tmp_path, MANIFEST)


def test_a_small_file_that_unfolds_to_gigabytes(tmp_path: Path) -> None:
    data = archive({"inputs.x.npy": stored(np.zeros(1_000_000))}, zipfile.ZIP_DEFLATED)
    assert len(data) < 20_000
    (tmp_path / "golden.npz").write_bytes(data)
    with pytest.raises(ArtifactError, match="compressed"):
        read_golden(tmp_path, MANIFEST)


def test_what_the_manifest_does_not_name_is_not_read(tmp_path: Path) -> None:
    parts = {"inputs.x.npy": stored(X), "outputs.y.npy": stored(Y), "inputs.z.npy": headed(b"(" * 5_000)}
    (tmp_path / "golden.npz").write_bytes(archive(parts))
    assert list(read_golden(tmp_path, MANIFEST).inputs) == ["x"]
