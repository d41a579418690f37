"""Stored programs whose archives hold more than they say are refused before torch reads them."""

import copy
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from services.worker.artifacts.vetting import vet
from services.worker.domain import LoadError
from tests.unit.worker.programs import CALL, SYMBOL, Parts, program, write


def test_a_tensor_whose_name_is_code(tmp_path: Path) -> None:
    tensors = {"config": {'w", [exit()] and "weight': {"path_name": "weight_0", "use_pickle": False}}}
    parts = program() | {"data/weights/model_weights_config.json": json.dumps(tensors).encode()}
    with pytest.raises(LoadError, match="name that could run code"):
        vet(write(tmp_path / "program.pt2", parts))


def test_an_archive_that_torch_reads_otherwise(tmp_path: Path) -> None:
    """Two archives in one file: Python takes the directory that stands before the end, torch the one it is told of."""
    shown, hidden = (
        write(tmp_path / "part.pt2", parts).read_bytes()
        for parts in (program(), program(expression=CALL + " " * len(SYMBOL)))
    )
    (shown_end, shown_start), (hidden_end, hidden_start) = map(directory_of, (shown, hidden))
    directory = bytearray(shown[shown_start:shown_end])
    position = 0
    while position < len(directory):
        lengths = struct.unpack_from("<3H", directory, position + 28)
        (offset,) = struct.unpack_from("<L", directory, position + 42)
        # Python adds to an offset what it finds to lie before the archive.
        moved = offset + hidden_end - (hidden_end + shown_start - hidden_start)
        struct.pack_into("<L", directory, position + 42, moved % (1 << 32))
        position += 46 + sum(lengths)
    path = tmp_path / "program.pt2"
    path.write_bytes(hidden[:hidden_end] + shown[:shown_start] + bytes(directory) + hidden[hidden_end:])

    with pytest.raises(LoadError, match="read in two ways"):
        vet(path)


def directory_of(archive: bytes) -> tuple[int, int]:
    """Where an archive's directory ends and begins."""
    end = archive.rindex(b"PK\5\6")
    return end, int(struct.unpack_from("<L", archive, end + 16)[0])


def test_an_archive_that_its_reader_cannot_read(tmp_path: Path) -> None:
    path = write(tmp_path / "program.pt2", program())
    data = bytearray(path.read_bytes())
    start = directory_of(bytes(data))[1]
    while data[start : start + 4] == b"PK\1\2":
        # Said to be encrypted.
        data[start + 8] |= 1
        start += 46 + sum(struct.unpack_from("<3H", data, start + 28))
    path.write_bytes(data)

    with pytest.raises(LoadError, match="no archive"):
        vet(path)


def with_part(name: str, data: bytes) -> Callable[[Parts], Any]:
    return lambda parts: parts.update({name: data})


def without(name: str) -> Callable[[Parts], Any]:
    return lambda parts: parts.pop(name)


PICKLED = json.dumps({"config": {"w": {"path_name": "weight_0", "use_pickle": True}}}).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_part("data/weights/model_weights_config.json", PICKLED), "'w' is pickled"),
        (with_part("data/constants/model_constants_config.json", PICKLED), "'w' is pickled"),
        (with_part("data/constants/model_constants_config.json", b"[]"), "no list of tensors"),
        (with_part("data/sample_inputs/model.pt", b"\x80\x04."), "pickled and could run code"),
        (with_part("data/aotinductor/model/x.so", b"ELF"), "could run code or is unknown"),
        (with_part("data/constants/custom_obj_0", b"x"), "could run code or is unknown"),
        (with_part("data/weights/../../x", b"x"), "misplaced part"),
        (with_part("models/other.json", b"{}"), "could run code or is unknown"),
        (with_part("models/model.json", b"{"), "is no JSON"),
        (with_part("models/model.json", b"[" * 100_000), "is no JSON"),
        (without("models/model.json"), "lacks 'models/model.json'"),
        (without("data/weights/model_weights_config.json"), "lacks"),
    ],
)
def test_archives_with_other_parts(tmp_path: Path, change: Callable[[Parts], Any], words: str) -> None:
    parts = program()
    change(parts)
    with pytest.raises(LoadError, match=words):
        vet(write(tmp_path / "program.pt2", parts))


def test_a_compressed_part(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="compressed"):
        vet(write(tmp_path / "program.pt2", program(), zipfile.ZIP_DEFLATED))


def test_parts_that_share_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "program.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in program().items():
            archive.writestr(f"program/{name}", data)
        archive.writestr("program/data/weights/weight_1", b"\0" * 10_000)
        for number in range(2, 100):
            part = copy.copy(archive.getinfo("program/data/weights/weight_1"))
            part.filename = f"program/data/weights/weight_{number}"
            archive.filelist.append(part)
    with pytest.raises(LoadError, match="lie in each other"):
        vet(path)


@pytest.mark.parametrize(
    ("part", "sizes", "words"),
    [
        ("opaque_0", [{"as_int": 4}], "no part of it with a tensor"),
        ("../constants/tensor_0", [{"as_int": 4}], "no part of it with a tensor"),
        ("weight_9", [{"as_int": 4}], "no part of it with a tensor"),
        ("weight_1", [{"as_int": 10**12}], "torch would fill up"),
        ("weight_1", None, "torch would fill up"),
    ],
)
def test_tensors_that_lie_nowhere(tmp_path: Path, part: str, sizes: object, words: str) -> None:
    tensors = {"config": {"w": {"path_name": part, "use_pickle": False, "tensor_meta": {"sizes": sizes}}}}
    parts = program() | {
        "data/weights/weight_1": b"",
        "data/weights/model_weights_config.json": json.dumps(tensors).encode(),
    }
    with pytest.raises(LoadError, match=words):
        vet(write(tmp_path / "program.pt2", parts))


def test_a_tensor_without_elements(tmp_path: Path) -> None:
    path = tmp_path / "program.pt2"
    empty = torch.nn.Module()
    empty.register_buffer("nothing", torch.zeros(0, 3))
    empty.register_buffer("number", torch.tensor(2.0))
    empty.forward = lambda x: x * empty.number + empty.nothing.sum()  # type: ignore[operator]
    exported = torch.export.export(empty, (torch.zeros(2),))
    exported._example_inputs = None
    torch.export.save(exported, path)
    vet(path)


def test_no_archive_at_all(tmp_path: Path) -> None:
    path = tmp_path / "program.pt2"
    path.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(LoadError, match="no archive"):
        vet(path)
