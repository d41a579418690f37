"""What the graph of a stored program may say, checked before torch makes Python of it.

torch writes source from a graph's names and runs it, has sympy evaluate its symbolic expressions, looks its operators
up by name anywhere under `torch`, and imports the modules that its containers name (seen on torch 2.13). So each of its
texts is one that its field takes; a field that is not known here may hold words alone.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from services.worker.artifacts.operators import ATEN
from services.worker.artifacts.vetting_expressions import SYMBOL, vet_expression
from services.worker.domain import LoadError

_ATEN: Final = re.compile(r"torch\.ops\.aten\.([a-zA-Z_0-9]+)(\.(?!__)[a-zA-Z_0-9]+)?")
_OPERATOR: Final = re.compile(
    # These two are written in Python over ATen.
    r"torch\.ops\.(prims|quantized_decomposed)\.(?!_|resize)[a-zA-Z_0-9]+(\.(?!__)[a-zA-Z_0-9]+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|torch\.sym_(int|float|not|max|min|sum|ite)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)"
)
_RANGES: Final = "range_constraints"
_UNCHECKED: Final = "unsafe"
"""The argument by which operators leave out their checks."""
_FALSE: Final = {"as_bool": False}
_NAMES: Final = frozenset({"name", "as_name", "forward_arg_names"})
"""Names of values and arguments, which stand in source as they are."""
_PATHS: Final = ("_name", "fqn")
_PATH: Final = re.compile(r'[^"\\\x00-\x1f\x7f]*')
"""Places of parameters and modules, which stand in source in quotes."""
_KEY: Final = re.compile(r"[\w.-]*")
_CONTAINERS: Final = frozenset({"in_spec", "out_spec"})
_CONTAINER_TYPES: Final = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_TOLD: Final = frozenset(
    # Shown or handed on, and never run: guards are not loaded, and what a model calls is no part of what it runs.
    {"as_string", "as_strings", "custom", "from_node", "guards_code", "nn_module_stack", "source_fn_stack"}
    | {"stack_trace", "torch_fn"}
)
_WORDS: Final = re.compile(r"[\w.:+/<> -]*")


def vet_graph(graph: Any) -> None:
    """Checks a graph's description, as JSON was read.

    Raises:
        LoadError: it holds what could run code; the message names it.
    """
    for one in _objects(graph):
        _vet_object(one)
    for key, text in _texts(graph):
        if key in ("target", "as_operator"):
            if not _is_known(text):
                raise LoadError(
                    f"the program calls {text!r}, which is none of the operators that Workers run: do without it, or "
                    "package the model as weights for an architecture"
                )
        elif key == "expr_str":
            vet_expression(text)
        elif key in _CONTAINERS:
            _vet_containers(text)
        elif not _is_harmless_text(key, text):
            raise LoadError(f"the program's {key!r} is {text[:80]!r}, which could run code")


def _vet_object(one: dict[str, Any]) -> None:
    if one.get("name") == _UNCHECKED and one.get("arg", _FALSE) != _FALSE:
        raise LoadError(f"the program asks for {_UNCHECKED!r} of an operator, which then checks no indices")
    ranges = one.get(_RANGES)
    for symbol in ranges if isinstance(ranges, dict) else ():
        if not SYMBOL.fullmatch(symbol):
            raise LoadError(f"the program's {_RANGES!r} has {symbol[:80]!r}, which is no symbol that torch makes")


def _is_known(operator: str) -> bool:
    aten = _ATEN.fullmatch(operator)
    if aten:
        return aten[1] in ATEN or aten[1].removesuffix("_") in ATEN
    return _OPERATOR.fullmatch(operator) is not None


def vet_path(name: str) -> None:
    """Checks the name of a tensor.

    Raises:
        LoadError: it could run code.
    """
    if not _PATH.fullmatch(name):
        raise LoadError(f"the program's tensor {name[:80]!r} has a name that could run code")


def _is_harmless_text(key: str, text: str) -> bool:
    if key in _TOLD:
        return True
    if key in _NAMES:
        return not text or text.isidentifier()
    return (_PATH if key.endswith(_PATHS) else _WORDS).fullmatch(text) is not None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object."""
    waiting: list[Any] = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text, with the name of its field."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, one) for one in value)
        elif isinstance(value, str):
            yield key, value
        elif key in ("target", "expr_str") and value is not None:
            yield key, str(value)


def _vet_containers(text: str) -> None:
    """Checks how inputs or outputs are packed: torch imports a module to make an enum, or a dict with a default."""
    try:
        _, *waiting = json.loads(text)
        while waiting:
            one = waiting.pop()
            keys = json.loads(one["context"] or "null")
            plain = keys is None or all(isinstance(key, int) or _KEY.fullmatch(key) for key in keys)
            if one["type"] not in _CONTAINER_TYPES or not plain or isinstance(keys, dict):
                raise ValueError(one["type"])
            waiting.extend(one["children_spec"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LoadError(
            f"the program's inputs or outputs are packed as {text[:80]!r}, which could run code; package the model "
            "again with tuples, lists and dicts of tensors"
        ) from error
