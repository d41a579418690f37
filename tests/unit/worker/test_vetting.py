"""Stored programs that could run code are refused before torch reads them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.worker.domain import LoadError
from services.worker.vetting import vet

Parts = dict[str, bytes]
SYMBOL = "Symbol('s77', positive=True, integer=True)"


def program(target: str = "torch.ops.aten.relu.default", expression: str = SYMBOL) -> Parts:
    graph = {"graph_module": {"graph": {"nodes": [{"target": target}], "sizes": [{"expr_str": expression}]}}}
    tensors = {"config": {"w": {"path_name": "weight_0", "use_pickle": False}}}
    return {
        "models/model.json": json.dumps(graph).encode(),
        "data/weights/weight_0": b"\0" * 16,
        "data/weights/model_weights_config.json": json.dumps(tensors).encode(),
        "data/constants/model_constants_config.json": b'{"config": {}}',
        "data/sample_inputs/model.pt": b"",
        "archive_format": b"pt2",
        "byteorder": b"little",
        ".data/version": b"6\n",
    }


def write(path: Path, parts: Parts, compression: int = zipfile.ZIP_STORED, root: str = "program/") -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(root + name, data)
    return path


def test_a_plain_program_passes(tmp_path: Path) -> None:
    vet(write(tmp_path / "program.pt2", program()))


@pytest.mark.parametrize(
    "expression",
    [SYMBOL, "Integer(4)", "Mul(Integer(2), Symbol('s0'))", "FloorDiv(s77, 2)", "2*s77 + 1", "Max(1, u0)", "s77 >= 2"],
)
def test_expressions_over_symbols_pass(tmp_path: Path, expression: str) -> None:
    vet(write(tmp_path / "program.pt2", program(expression=expression)))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('id')",
        "().__class__.__bases__",
        "s77.__class__",
        "[s77 for s77 in (1,)]",
        "lambda: 1",
        "eval('1')",
        "Symbol('os')",
        "Symbol('s77').func",
        "open('/etc/passwd')",
        "s77(1)(2)",
        "",
        "(" * 3000,
        "s77 := 1",
    ],
)
def test_expressions_that_are_code(tmp_path: Path, expression: str) -> None:
    with pytest.raises(LoadError, match="symbolic expression"):
        vet(write(tmp_path / "program.pt2", program(expression=expression)))


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.relu.default.__class__",
        "torch.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.relu.__class__",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "math.__loader__",
        "#custom",
        "builtins.eval",
    ],
)
def test_operators_from_elsewhere(tmp_path: Path, target: str) -> None:
    with pytest.raises(LoadError, match="none of the operators"):
        vet(write(tmp_path / "program.pt2", program(target=target)))


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


def test_no_archive_at_all(tmp_path: Path) -> None:
    path = tmp_path / "program.pt2"
    path.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(LoadError, match="no archive"):
        vet(path)
