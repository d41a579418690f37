"""Architectures: what builds a module that weights are put into.

An architecture is a callable `(**config) -> torch.nn.Module` that an installed package declares under a name, as an
entry point in the group `crossfade.architectures`. Whoever runs a Worker installs the package and allows the name; an
artifact says only the name, and the config that it is called with.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from crossfade.strict_json import encode, refuse, require

GROUP: Final = "crossfade.architectures"
MAX_CONFIG_BYTES: Final = 64 * 1024
NAME_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"

_NAME: Final = re.compile(NAME_PATTERN)
_MAX_DEPTH: Final = 16


class ArchitectureError(Exception):
    """An architecture can't be found or built, or is not that of the weights; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which architecture weights are for.

    `config` holds the arguments that it is called with: numbers, texts, booleans, None, and lists and dicts of these,
    64 KiB of JSON at most. It is kept as JSON has it, so that tuples become lists.

    Raises:
        FieldError: a ValueError that names what can't be written.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(
            _NAME.fullmatch(self.name), "name", f"{self.name!r} is no name of an architecture (letters, digits, . _ -)"
        )
        require(isinstance(self.config, dict), "config", "must be a dict of arguments")
        for key in self.config:
            require(isinstance(key, str) and key.isidentifier(), "config", f"{key!r} can't be an argument's name")
        for path, value, depth in _walk(self.config):
            _check_json(path, value, depth)
        data = encode(self.config)
        require(
            len(data) <= MAX_CONFIG_BYTES, "config", f"it has {len(data)} bytes; at most {MAX_CONFIG_BYTES} are read"
        )
        object.__setattr__(self, "config", json.loads(data))


def find(name: str) -> EntryPoint:
    """The entry point of an architecture. Nothing is imported.

    Raises:
        ArchitectureError: no installed package declares it, or several do.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        raise ArchitectureError(
            f"the architecture {name!r} is not installed here: install the package that declares it as an entry point "
            f"in the group {GROUP}"
        )
    if len(found) > 1:
        packages = ", ".join(sorted(package_of(one) for one in found))
        raise ArchitectureError(
            f"the architecture {name!r} is declared by several packages: {packages}; leave one installed"
        )
    return found[0]


def package_of(entry: EntryPoint) -> str:
    """Name and version of the package that declares an architecture."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.module


def _walk(config: object) -> Iterator[tuple[str, Any, int]]:
    waiting: list[tuple[str, Any, int]] = [("config", config, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        yield path, value, depth
        if isinstance(value, dict):
            waiting.extend((f"{path}.{key!s:.40}", one, depth + 1) for key, one in value.items())
        elif isinstance(value, list | tuple):
            waiting.extend((f"{path}[{number}]", one, depth + 1) for number, one in enumerate(value))


def _check_json(path: str, value: Any, depth: int) -> None:
    if not path.isprintable():
        refuse("config", "its names must be printable")
    require(depth <= _MAX_DEPTH, "config", f"it is nested more than {_MAX_DEPTH} deep")
    match value:
        case None | bool():
            pass
        case int():
            # Python writes no more digits, and reads no more.
            require(abs(value) < 1 << 64, path, "must be a number of 64 bits")
        case float():
            require(math.isfinite(value), path, "must be a finite number")
        case str():
            require(value.isprintable() or _is_utf8(value), path, "must be a text that UTF-8 holds")
        case list() | tuple():
            pass
        case dict():
            named = all(isinstance(key, str) and _is_utf8(key) for key in value)
            require(named, path, "its names must be texts that UTF-8 holds")
        case _:
            refuse(
                path, f"a {type(value).__name__} can't be written: numbers, texts, booleans, None, lists and dicts can"
            )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
