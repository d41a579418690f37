"""What a stored program may contain, checked before torch reads it.

`torch.export.load` runs code from a crafted file (seen on torch 2.13): pickled weights, constants and sample inputs,
compiled libraries, symbolic expressions that sympy evaluates as Python, guards that are compiled, and operators
looked up by name anywhere under `torch`. So the archive is opened as what it is, a zip file, and anything but plain
tensors and a graph of known operators is refused. This guards against files that were made to do harm by somebody who
may publish; that the file is the published one is shown by its digest.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile, ZipInfo

from services.worker.domain import LoadError

MAX_MEMBERS: Final = 100_000
MAX_GRAPH_BYTES: Final = 256 << 20
"""Bytes of the graph's description, and of each other member that is not a tensor."""

_GRAPH: Final = "models/model.json"
_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_SAMPLES: Final = "data/sample_inputs/model.pt"
_READ: Final = (_GRAPH, _SAMPLES, *_CONFIGS)
_PLAIN: Final = re.compile(
    r"data/weights/weight_[0-9]+|data/constants/tensor_[0-9]+"
    r"|archive_format|archive_version|version|byteorder|\.data/version|\.data/serialization_id|\.format_version"
    r"|\.storage_alignment"
)
_OPERATOR: Final = re.compile(
    # from_file would map any file of the machine.
    r"torch\.ops\.(aten|prims|quantized_decomposed)\.(?!from_file\b)[a-zA-Z_0-9]+(\.(?!__)[a-zA-Z_0-9]+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|torch\.sym_(int|float|not|max|min|sum|ite)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)"
)
_FUNCTION: Final = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Mod|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Equality"
    r"|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|FloorDiv|ModularIndexing|Where"
    r"|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv"
    r"|IntTrueDiv|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat|Identity"
    r"|IsNonOverlappingAndDenseIndicator|true|false|oo|int_oo"
)
_NODES: Final = (
    ast.Expression,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.keyword,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
)
_SYMBOL: Final = re.compile(r"(s|u|f|zf|zuf)[0-9]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?")
_MAX_EXPRESSION: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Archive:
    zip: ZipFile
    members: dict[str, ZipInfo]

    def read(self, name: str) -> bytes:
        info = self.members[name]
        if info.file_size > MAX_GRAPH_BYTES:
            raise LoadError(f"the program's {name} has {info.file_size} bytes; at most {MAX_GRAPH_BYTES} are read")
        return self.zip.read(info)

    def read_json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise LoadError(f"the program's {name} is no JSON: {error}") from error


def vet(path: Path) -> None:
    """Checks a stored program.

    Raises:
        LoadError: it is no archive of `torch.export.save`, or holds what could run code; the message names the part.
    """
    try:
        with ZipFile(path) as archive:
            _vet(_Archive(archive, _members(archive)))
    except (BadZipFile, NotImplementedError, OSError) as error:
        raise LoadError(f"{path.name} is no archive of torch.export.save: {error}") from error


def _members(archive: ZipFile) -> dict[str, ZipInfo]:
    infos = archive.infolist()
    if not infos or len(infos) > MAX_MEMBERS:
        raise LoadError(f"the program's archive has {len(infos)} parts; 1 to {MAX_MEMBERS} are read")
    root = infos[0].filename.partition("/")[0] + "/"
    members: dict[str, ZipInfo] = {}
    for info in infos:
        name = info.filename.removeprefix(root)
        if not info.filename.startswith(root) or ".." in name.split("/") or name in members:
            raise LoadError(f"the program's archive has a misplaced part {info.filename!r}")
        if info.compress_type != 0 or info.compress_size != info.file_size:
            # torch stores without compression; a compressed part could unfold to any size.
            raise LoadError(f"the program's part {name!r} is compressed")
        members[name] = info
    return members


def _vet(archive: _Archive) -> None:
    for name in archive.members:
        if name not in _READ and not _PLAIN.fullmatch(name):
            raise LoadError(
                f"the program's archive holds {name!r}, which could run code or is unknown; "
                "package the model again without custom objects or compiled parts"
            )
    for name in _READ:
        if name not in archive.members:
            raise LoadError(f"the program's archive lacks {name!r}: was it made by torch.export.save?")
    for name in _CONFIGS:
        _vet_tensors(archive.read_json(name), name)
    if archive.members[_SAMPLES].file_size:
        raise LoadError(
            f"the program holds sample inputs ({_SAMPLES}), which are pickled and could run code; "
            "package the model again with crossfade.artifact.package"
        )
    _vet_graph(archive.read_json(_GRAPH))


def _vet_graph(graph: Any) -> None:
    for key, value in _walk(graph):
        if key == "target" and not _OPERATOR.fullmatch(str(value)):
            raise LoadError(f"the program calls {value!r}, which is none of the operators that Workers run")
        if key == "expr_str":
            _vet_expression(value)


def _vet_tensors(config: Any, name: str) -> None:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise LoadError(f"the program's {name} has no list of tensors")
    for entry, payload in entries.items():
        if not isinstance(payload, dict) or payload.get("use_pickle") is not False:
            raise LoadError(f"the program's tensor {entry!r} is pickled, which could run code")


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _vet_expression(value: Any) -> None:
    # sympy evaluates the text as Python, so only calls of sympy's own constructors get through.
    text = str(value)
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) <= _MAX_EXPRESSION else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    if not nodes or not all(_harmless(node) for node in nodes):
        raise LoadError(f"the program has the symbolic expression {text[:80]!r}, which could run code")


def _harmless(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name):
            return _FUNCTION.fullmatch(name) is not None or _SYMBOL.fullmatch(name) is not None
        case ast.Constant(value=str(text)):
            return _SYMBOL.fullmatch(text) is not None or _NUMBER.fullmatch(text) is not None
        case ast.Call(func=function):
            return isinstance(function, ast.Name)
    return isinstance(node, _NODES)
