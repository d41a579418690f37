"""What a file of weights may contain, checked before anything reads it.

A safetensors file holds no code: eight bytes with the length of a header, the header, and the tensors' bytes. The
header is JSON: per tensor its element type, its shape, and where its bytes lie. The library that reads it checks it,
too; here the message names the tensor, and what the library lets through is refused: a tensor that is named twice.
Format: https://github.com/huggingface/safetensors#format
"""

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crossfade.strict_json import FieldError, decode, parse, refuse, require
from services.worker.domain import LoadError

MAX_HEADER_BYTES: Final = 16 << 20
MAX_TENSORS: Final = 100_000

_LENGTH: Final = struct.Struct("<Q")
_METADATA: Final = "__metadata__"
_MAX_DIMENSIONS: Final = 32
_BYTES: Final[Mapping[str, int]] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E4M3FNUZ": 1,
    "F8_E5M2": 1,
    "F8_E5M2FNUZ": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
    "C64": 8,
}
"""Bytes of one element, by the names of the types."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tensor of the header; `data_offsets` are counted from the header's end."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, ...]

    def __post_init__(self) -> None:
        require(self.dtype in _BYTES, "dtype", f"{self.dtype[:40]!r} is no type that Workers read")
        require(len(self.shape) <= _MAX_DIMENSIONS, "shape", f"it has more than {_MAX_DIMENSIONS} dimensions")
        require(all(0 <= size < 1 << 63 for size in self.shape), "shape", "sizes must be whole and not negative")
        ordered = len(self.data_offsets) == 2 and 0 <= self.data_offsets[0] <= self.data_offsets[1]
        require(ordered, "data_offsets", "must be a start and an end that is not before it")
        expected = math.prod(self.shape) * _BYTES[self.dtype]
        length = self.data_offsets[1] - self.data_offsets[0]
        require(length == expected, "data_offsets", f"they hold {length} bytes; its type and shape need {expected}")


def vet_weights(path: Path) -> None:
    """Checks a file of weights.

    Raises:
        LoadError: it is no safetensors file, is cut short, or its header does not fit its bytes; the message names the
            tensor.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size < _LENGTH.size:
                raise LoadError(f"{path.name} is no safetensors file: it has {size} bytes")
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            if length > size - _LENGTH.size:
                raise LoadError(
                    f"{path.name} is no safetensors file or is cut short: its header would have {length} bytes, the "
                    f"file has {size}"
                )
            if length > MAX_HEADER_BYTES:
                raise LoadError(f"{path.name} has a header of {length} bytes; at most {MAX_HEADER_BYTES} are read")
            header = file.read(length)
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}") from error
    try:
        _check_bytes(_entries(parse(header)), size - _LENGTH.size - length)
    except FieldError as error:
        raise LoadError(f"{path.name} has a header that cannot be used: {error}") from error


def _entries(header: dict[str, Any]) -> dict[str, _Entry]:
    metadata = header.pop(_METADATA, {})
    texts = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    require(texts, _METADATA, "must hold texts")
    require(len(header) <= MAX_TENSORS, "tensors", f"{len(header)} are too many; at most {MAX_TENSORS} are read")
    entries = {}
    for name, value in header.items():
        shown = repr(name[:100])
        require(isinstance(value, dict), shown, "must be an object with dtype, shape and data_offsets")
        try:
            entries[name] = decode(_Entry, value)
        except FieldError as error:
            refuse(shown, str(error))
    return entries


def _check_bytes(entries: Mapping[str, _Entry], size: int) -> None:
    """Each byte belongs to one tensor."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        start, stop = entry.data_offsets
        if start != end:
            problem = "overlap those of another tensor" if start < end else f"leave a gap of {start - end} before them"
            refuse(repr(name[:100]), f"its bytes {start} to {stop} {problem}")
        end = stop
    require(end == size, "tensors", f"they take {end} bytes, and the file has {size} for them")
