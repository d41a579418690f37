"""Files of weights that lie about themselves are refused before anything reads them."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from services.worker.artifacts.vetting_weights import MAX_HEADER_BYTES, MAX_TENSORS, vet_weights
from services.worker.domain import LoadError


def entry(start: int, stop: int, dtype: Any = "F32", shape: Any = None, **more: Any) -> dict[str, Any]:
    """A tensor's entry, by default of floats in one dimension."""
    return {
        "dtype": dtype,
        "shape": [(stop - start) // 4] if shape is None else shape,
        "data_offsets": [start, stop],
        **more,
    }


def header_of(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


def write(folder: Path, header: bytes, data: int, length: int | None = None) -> Path:
    """A file with `data` bytes behind a header that claims to have `length`."""
    path = folder / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + bytes(data))
    return path


def test_what_the_library_writes_passes(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {
        "a.weight": torch.ones(3, 4),
        "a.half": torch.ones(5, dtype=torch.bfloat16),
        "b.count": torch.tensor(7),
        "b.none": torch.empty(0, 4),
        "b.mask": torch.ones(3, dtype=torch.bool),
        "c.small": torch.ones(2, dtype=torch.float8_e4m3fn),
        "c.complex": torch.ones(2, dtype=torch.complex64),
    }
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    vet_weights(path)
    safetensors.torch.save_file({}, path)
    vet_weights(path)


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        (b"{", 0, "header that cannot be used: no JSON at line 1"),
        (b"[]", 0, "must hold a JSON object"),
        (b"", 0, "no JSON"),
        (b"\xff", 0, "not UTF-8"),
        (b"[" * 100_000, 0, "nested too deeply"),
        (b'{"a": NaN}', 0, "NaN is no JSON number"),
        (b'{"a": ' + b"9" * 5000 + b"}", 0, "no JSON that can be read"),
        (header_of(a=entry(0, 8))[:-1] + b', "a": ' + json.dumps(entry(0, 8)).encode() + b"}", 8, "'a' occurs twice"),
        (header_of(__metadata__={"a": 1}), 0, "__metadata__: must hold texts"),
        (header_of(__metadata__=[]), 0, "__metadata__: must hold texts"),
        (header_of(a=[]), 0, "'a': must be an object"),
        (header_of(a={"dtype": "F32", "shape": [2]}), 8, "'a': data_offsets: missing"),
        (header_of(a=entry(0, 8, file="/etc/passwd")), 8, "'a': file: unknown field"),
        (header_of(a=entry(0, 8, dtype="PICKLE")), 8, "'a': dtype: 'PICKLE' is no type"),
        (header_of(a=entry(0, 8, dtype=4)), 8, "'a': dtype: must be a text"),
        (header_of(a=entry(0, 8, shape=[3])), 8, "'a': data_offsets: they hold 8 bytes; its type and shape need 12"),
        (header_of(a=entry(0, 8, shape=[1 << 40, 1 << 40])), 8, "'a': data_offsets: they hold 8 bytes"),
        (header_of(a=entry(0, 8, shape=[-2])), 8, "'a': shape: sizes must be"),
        (header_of(a=entry(0, 8, shape=[1 << 64])), 8, "'a': shape: sizes must be"),
        (header_of(a=entry(0, 8, shape=[2.0])), 8, r"'a': shape\[0\]: must be a whole number"),
        (header_of(a=entry(0, 8, shape=[1] * 33)), 8, "'a': shape: it has more than 32 dimensions"),
        (header_of(a=entry(8, 0, shape=[2])), 8, "'a': data_offsets: must be a start and an end"),
        (header_of(a={**entry(0, 8), "data_offsets": [0, 8, 8]}), 8, "'a': data_offsets: must be a start and an end"),
        (header_of(a=entry(-8, 0, shape=[2])), 8, "'a': data_offsets: must be a start and an end"),
        (header_of(a=entry(0, 8), b=entry(4, 12)), 12, "'b': its bytes 4 to 12 overlap those of another tensor"),
        (header_of(a=entry(0, 8), b=entry(0, 8)), 8, "'b': its bytes 0 to 8 overlap"),
        (header_of(a=entry(0, 8), b=entry(12, 16)), 16, "'b': its bytes 12 to 16 leave a gap of 4"),
        (header_of(a=entry(4, 8)), 8, "'a': its bytes 4 to 8 leave a gap of 4"),
        (header_of(a=entry(0, 8)), 12, "tensors: they take 8 bytes, and the file has 12 for them"),
        (header_of(a=entry(0, 8)), 7, "tensors: they take 8 bytes, and the file has 7 for them"),
    ],
)
def test_headers_that_do_not_fit(tmp_path: Path, header: bytes, data: int, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        vet_weights(write(tmp_path, header, data))


def test_lengths_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cut short: its header would have 3 bytes, the file has 10"):
        vet_weights(write(tmp_path, b"{}", 0, length=3))
    with pytest.raises(LoadError, match="cut short: its header would have 18446744073709551615 bytes"):
        vet_weights(write(tmp_path, b"{}", 0, length=(1 << 64) - 1))
    with pytest.raises(LoadError, match=f"a header of {MAX_HEADER_BYTES + 1} bytes; at most {MAX_HEADER_BYTES}"):
        vet_weights(write(tmp_path, b"", MAX_HEADER_BYTES + 1, length=MAX_HEADER_BYTES + 1))
    (tmp_path / "weights.safetensors").write_bytes(b"PK\x03")
    with pytest.raises(LoadError, match="is no safetensors file: it has 3 bytes"):
        vet_weights(tmp_path / "weights.safetensors")
    with pytest.raises(LoadError, match="none cannot be read: No such file"):
        vet_weights(tmp_path / "none")


def test_too_many_tensors(tmp_path: Path) -> None:
    nothing = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({str(number): nothing for number in range(MAX_TENSORS + 1)}).encode()
    with pytest.raises(LoadError, match=f"tensors: {MAX_TENSORS + 1} are too many"):
        vet_weights(write(tmp_path, header, 0))


def test_what_passes_is_what_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.int16)}, path)
    whole = path.read_bytes()
    dice = random.Random(5)
    refused = 0
    for _ in range(500):
        changed = bytearray(whole[: dice.choice([len(whole), dice.randrange(len(whole))])])
        for _ in range(dice.randrange(3)):
            if changed:
                changed[dice.randrange(min(len(changed), 150))] = dice.choice(b'0123456789",:{}[]ab\0\xff')
        path.write_bytes(changed)
        try:
            vet_weights(path)
        except LoadError:
            refused += 1
        else:
            safetensors.torch.load(bytes(changed))  # noqa: TID251 - reads what the test wrote itself
    assert refused > 200
