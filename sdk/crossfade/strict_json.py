"""Strict decoding of JSON into frozen dataclasses, and their canonical encoding.

The dataclasses' annotations are the schema: str, int, float, bool, StrEnum, dataclass, tuple[T, ...] and Sequence[T],
Mapping[str, T], T | None, and Any for whatever JSON holds. A field that is missing, unknown or of another type is
refused with its path; one that has its default is neither written nor missed, so that a later release can add it. What
annotations can't say, a dataclass checks in `__post_init__` with `require`.
"""

import dataclasses
import json
import math
import types
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class FieldError(ValueError):
    """A field's path and what is wrong with it, or the line of the text that is no JSON."""


def refuse(field: str, problem: str) -> NoReturn:
    """Raise FieldError for `field`."""
    raise FieldError(f"{field}: {problem}")


def require(condition: object, field: str, problem: str) -> None:
    """Raise FieldError for `field` unless `condition` holds."""
    if not condition:
        refuse(field, problem)


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Refuses repeated keys and NaN, which Python's own parser lets through."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise FieldError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise FieldError(f"no JSON at line {error.lineno} column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise FieldError("nested too deeply") from error
    except FieldError:
        raise
    except ValueError as error:
        # Python refuses numbers of more than 4,300 digits.
        raise FieldError(f"no JSON that can be read: {error}") from error
    if not isinstance(value, dict):
        raise FieldError("must hold a JSON object")
    return value


def decode(cls: type[T], value: dict[str, Any]) -> T:
    """The dataclass `cls` from a parsed object. Raises FieldError with the path of the first field at fault."""
    return cast("T", _decode(cls, value, ""))


def encode(value: object) -> bytes:
    """Canonical JSON of dataclasses, mappings, sequences and scalars: sorted keys, no spaces, UTF-8."""
    text = json.dumps(
        value, default=_fields, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def _fields(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: (getattr(value, field.name), field.default) for field in dataclasses.fields(value)}
        return {
            name: one for name, (one, default) in fields.items() if default is dataclasses.MISSING or one != default
        }
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise FieldError(f"the field {twice!r} occurs twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise FieldError(f"{name} is no JSON number")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _decode(expected: Any, value: Any, path: str) -> Any:
    if expected is Any:
        return value
    origin = get_origin(expected)
    if origin in {Union, types.UnionType}:
        if value is None:
            return None
        (expected,) = (option for option in get_args(expected) if option is not type(None))
        return _decode(expected, value, path)
    if origin in {tuple, Sequence}:
        items = _checked(value, list, "a list", path)
        return tuple(_decode(get_args(expected)[0], item, f"{path}[{i}]") for i, item in enumerate(items))
    if origin is Mapping:
        entries = _checked(value, dict, "an object", path)
        return {key: _decode(get_args(expected)[1], item, f"{path}.{_key(key)}") for key, item in entries.items()}
    if dataclasses.is_dataclass(expected):
        return _decode_object(expected, _checked(value, dict, "an object", path), path)
    return _decode_scalar(expected, value, path)


def _decode_object(cls: Any, entries: dict[str, Any], path: str) -> Any:
    prefix = f"{path}." if path else ""
    hints = _hints(cls)
    for key in entries:
        require(key in hints, f"{prefix}{_key(key)}", "unknown field")
    for field in dataclasses.fields(cls):
        has_default = field.default is not dataclasses.MISSING
        require(field.name in entries or has_default, f"{prefix}{field.name}", "missing")
    fields = {key: _decode(hints[key], value, f"{prefix}{key}") for key, value in entries.items()}
    try:
        return cls(**fields)
    except FieldError as error:
        raise FieldError(f"{prefix}{error}") from error


def _decode_scalar(expected: Any, value: Any, path: str) -> Any:
    if expected is bool:
        require(isinstance(value, bool), path, f"must be true or false, not {_shown(value)}")
        return value
    if expected is float:
        number = _checked(value, (int, float), "a number", path)
        # An int beyond the range of a float is refused like an infinite one.
        require(abs(number) <= _LARGEST_FLOAT, path, "must be a finite number")
        return float(number)
    if expected is int:
        return _checked(value, int, "a whole number", path)
    text = _checked(value, str, "a text", path)
    if expected is str:
        return text
    require(text in set(expected), path, f"{_shown(text)} is not known here (known: {', '.join(expected)})")
    return expected(text)


_LARGEST_FLOAT = math.ldexp(1 - 2**-53, 1024)


def _checked(value: Any, kind: type | tuple[type, ...], what: str, path: str) -> Any:
    # JSON's true is an int to Python.
    require(isinstance(value, kind) and not isinstance(value, bool), path, f"must be {what}, not {_shown(value)}")
    return value


def _key(key: str) -> str:
    # A key may hold anything; a message must stay printable.
    return _shown(key)[1:-1]


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
