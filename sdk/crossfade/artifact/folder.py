"""An artifact on disk: a folder with the manifest and the files that it lists."""

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

from crossfade.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, FileEntry, Manifest, ManifestError, digest, loads
from crossfade.tensor_spec import DType, TensorSpec

PROGRAM_FILE = "program.pt2"
WEIGHTS_FILE = "weights.safetensors"
GOLDEN_FILE = "golden.npz"

_INPUT, _OUTPUT = "inputs.", "outputs."
_DIGEST_SHOWN = len("sha256:") + 12
_NUMPY = {
    DType.BOOL: np.dtype(np.bool_),
    DType.UINT8: np.dtype(np.uint8),
    DType.INT8: np.dtype(np.int8),
    DType.INT16: np.dtype(np.int16),
    DType.INT32: np.dtype(np.int32),
    DType.INT64: np.dtype(np.int64),
    DType.FP16: np.dtype(np.float16),
    DType.BF16: np.dtype(np.float32),
    DType.FP32: np.dtype(np.float32),
    DType.FP64: np.dtype(np.float64),
}

Arrays = Mapping[str, NDArray[Any]]


class ArtifactError(Exception):
    """The artifact can't be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact.

    `digest` is `sha256:<hex>` of the bytes of `model.json`; through the hashes in it, it fixes every file. `size`
    is the number of bytes of all files together.
    """

    path: Path
    digest: str
    size: int
    manifest: Manifest

    def __repr__(self) -> str:
        """Where it lies and what it is; not the manifest, which is long."""
        classes = f" of {len(self.manifest.classes)} classes" if self.manifest.classes else ""
        return (
            f"<Artifact {self.path}: {self.manifest.task.value}{classes}, {self.size:,} bytes, "
            f"{self.digest[:_DIGEST_SHOWN]}…>"
        )


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Rows of inputs and the outputs that the module gave for them at packaging, by tensor name."""

    inputs: Arrays
    outputs: Arrays

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(next(iter(self.inputs.values())))


def verify(path: str | Path) -> Artifact:
    """Check an artifact: parse its manifest strictly and hash every file in it. Nothing is loaded or executed.

    Files that the manifest doesn't list are no part of the artifact and are left alone.

    Raises:
        ArtifactError: something is missing, altered, cut short or of an unknown format.
    """
    folder = Path(path)
    manifest_path = folder / MANIFEST_FILE
    if folder.is_file():
        raise ArtifactError(f"{folder} is a file: give the folder that crossfade.artifact.package() made")
    try:
        with manifest_path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ArtifactError(
            f"{folder} is no artifact: {MANIFEST_FILE} can't be read ({error.strerror}); make one with"
            " crossfade.artifact.package()"
        ) from error
    try:
        manifest = loads(data)
    except ManifestError as error:
        raise ArtifactError(f"{folder}: {error}") from error
    for entry in manifest.files:
        _check_file(folder, entry)
    size = len(data) + sum(entry.size for entry in manifest.files)
    return Artifact(path=folder, digest=digest(data), size=size, manifest=manifest)


def file_entry(path: Path) -> FileEntry:
    """The manifest's entry for a file: its name, SHA-256 and size."""
    return FileEntry(path=path.name, sha256=_sha256(path), size=path.stat().st_size)


@contextmanager
def staged(to: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder beside `to` that takes its place, at once and whole, when the block ends without an error.

    Raises:
        ArtifactError: `to` exists and may not be overwritten, or is something else than an artifact.
    """
    _check_free(to, overwrite=overwrite)
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        yield temporary
        _check_free(to, overwrite=overwrite)
        if to.exists():
            _replace(to, temporary)
        else:
            temporary.rename(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """The numpy type that holds `dtype`; BF16, which numpy lacks, is held without loss as float32."""
    return _NUMPY[dtype]


def write_golden(path: Path, golden: AnsweredRows) -> None:
    """Write golden rows as .npz, with no pickled part."""
    arrays = {_INPUT + name: array for name, array in golden.inputs.items()}
    arrays |= {_OUTPUT + name: array for name, array in golden.outputs.items()}
    # mypy takes the arrays for savez's own flag.
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_golden(folder: Path, manifest: Manifest) -> AnsweredRows:
    """Read the golden rows of an artifact, as its manifest describes them.

    Raises:
        ArtifactError: the file can't be read, lacks a tensor, or has one of another type or shape.
    """
    path = folder / manifest.golden.file
    signature, rows = manifest.signature, manifest.golden.rows
    wanted = [*(_INPUT + spec.name for spec in signature.inputs), *(_OUTPUT + spec.name for spec in signature.outputs)]
    try:
        _check_stored(path)
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in wanted if name in stored}
    except ArtifactError:
        raise
    except Exception as error:
        # Whatever a crafted file makes of numpy.
        raise ArtifactError(f"{path} can't be read: {error}") from error
    return AnsweredRows(
        inputs={spec.name: _golden(path, arrays, _INPUT, spec, rows) for spec in signature.inputs},
        outputs={spec.name: _golden(path, arrays, _OUTPUT, spec, rows) for spec in signature.outputs},
    )


def _check_stored(path: Path) -> None:
    """Refuses what would unfold to more than the file has: neither compressed parts nor parts that share bytes."""
    with ZipFile(path) as archive:
        parts = archive.infolist()
    plain = all(part.compress_type == ZIP_STORED for part in parts)
    if not plain or sum(part.file_size for part in parts) > path.stat().st_size:
        raise ArtifactError(f"{path} is compressed: package the model again")


def _golden(path: Path, arrays: Mapping[str, Any], prefix: str, spec: TensorSpec, rows: int) -> NDArray[Any]:
    array = arrays.get(prefix + spec.name)
    expected = (numpy_dtype(spec.dtype), (rows, *spec.shape[1:]))
    # What is no array is handed out as bytes.
    if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != expected:
        found = "nothing" if not isinstance(array, np.ndarray) else f"{array.dtype} {list(array.shape)}"
        raise ArtifactError(
            f"{path}: {prefix}{spec.name} must be {expected[0]} {list(expected[1])}, but the file has {found}: the "
            "manifest was written for other rows; package the model again"
        )
    return array


def _check_file(folder: Path, entry: FileEntry) -> None:
    path = folder / entry.path
    try:
        size = path.stat().st_size
        if size != entry.size:
            raise ArtifactError(f"{path} has {size} bytes instead of {entry.size}: copy the artifact again")
        actual = _sha256(path)
    except OSError as error:
        raise ArtifactError(f"{path} can't be read ({error.strerror}): copy the artifact again") from error
    if actual != entry.sha256:
        raise ArtifactError(f"{path} was altered: its SHA-256 is {actual}, the manifest says {entry.sha256}")


def _check_free(to: Path, *, overwrite: bool) -> None:
    if not to.exists():
        return
    if not overwrite:
        raise ArtifactError(f"{to} exists: choose another folder, or pass overwrite=True")
    if not (to / MANIFEST_FILE).is_file():
        raise ArtifactError(f"{to} is no artifact and is not overwritten: choose another folder")


def _replace(to: Path, temporary: Path) -> None:
    replaced = temporary.with_name(f"{temporary.name}.replaced")
    to.rename(replaced)
    try:
        temporary.rename(to)
    except OSError:
        replaced.rename(to)
        raise
    if replaced.is_symlink():
        # What it led to is somebody's.
        replaced.unlink()
        return
    shutil.rmtree(replaced)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
