"""Arrays from files: .npy, .npz, .json, or any of them from standard input."""

import io
import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from crossfade.cli.errors import CommandError, UsageError
from crossfade.codec import DTYPES, Array
from crossfade.common.v1.model_pb2 import Signature
from crossfade.input_types import converted

_NPY_MAGIC: Final = b"\x93NUMPY"
_ZIP_MAGIC: Final = b"PK"


def load_arrays(source: str) -> dict[str, Array]:
    """Arrays by input name; an array without a name has the empty one.

    Args:
        source: a path, or `-` for standard input. JSON is an array, or an object of arrays by name.

    Raises:
        CommandError: it cannot be read.
        UsageError: it holds no arrays.
    """
    name = "standard input" if source == "-" else source
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from error
    try:
        return _stored(raw) if raw.startswith((_NPY_MAGIC, _ZIP_MAGIC)) else _from_json(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} holds no arrays (.npy, .npz or JSON): {error}") from error


def _stored(raw: bytes) -> dict[str, Array]:
    """Arrays as numpy stores them.

    Raises:
        ValueError: they are broken.
    """
    try:
        found = np.load(io.BytesIO(raw), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:
        # Of a broken head numpy may make anything: TokenError, OverflowError, BadZipFile, MemoryError.
        raise ValueError(str(error)) from error


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays as .npz, by their names.

    Raises:
        OSError: it cannot be written.
    """
    # savez takes names as arguments, and two of them, `file` and `allow_pickle`, for its own.
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def fit(arrays: Mapping[str, Array], signature: Signature | None) -> dict[str, Array]:
    """Names and types as the model takes them: an array without a name is its input, float64 becomes float32.

    Types are changed within their kind, or from whole numbers to floats, where the numbers stay what they are but for
    rounded floats; what does not fit is left for the service to refuse, which says what it takes.

    Args:
        arrays: by input name.
        signature: the model's; None: unknown.
    """
    known = {spec.name: spec.datatype for spec in signature.inputs} if signature else {}
    alone = next(iter(known), "input")
    fitted = {}
    for name, array in arrays.items():
        chosen = name or alone
        wanted = DTYPES.get(known.get(chosen, "FP32" if array.dtype.kind == "f" else ""))
        made = None
        if wanted is not None and np.can_cast(array.dtype, wanted, "same_kind"):
            made = converted(array, wanted)
        fitted[chosen] = array if made is None else made
    return fitted


def first_rows(arrays: Mapping[str, Array], rows: int | None) -> dict[str, Array]:
    """The first rows of each array; None: all. A single number has none, which is for the service to refuse."""
    return {name: array[:rows] if array.ndim else array for name, array in arrays.items()}


def _from_json(value: Any) -> dict[str, Array]:
    if isinstance(value, list):
        return {"": _array(value)}
    if isinstance(value, dict) and value and all(isinstance(one, list) for one in value.values()):
        return {str(name): _array(one) for name, one in value.items()}
    raise ValueError("the JSON must be an array of rows, or an object of such arrays by input name")


def _array(value: list[Any]) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError("its elements must be numbers or truths, in rows of one length")
    return array
