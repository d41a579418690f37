"""What names in an artifact must look like."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from crossfade.strict_json import require

LABEL_LIMIT = 128
"""Characters of a class's or a feature's name."""
_TENSOR_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")


def check_tensor_name(field: str, name: str) -> None:
    """Raise FieldError for `field` unless `name` can be a tensor's."""
    require(_TENSOR_NAME.fullmatch(name), field, f"{name!r} is no tensor name (letters, digits, _ .)")


def is_label(name: str) -> bool:
    """Whether `name` can be shown: 1 to 128 printable characters."""
    return 0 < len(name) <= LABEL_LIMIT and name.isprintable()


def check_label(field: str, name: str) -> None:
    """Raise FieldError for `field` unless `name` can be shown."""
    require(is_label(name), field, f"{name!r} must have 1 to {LABEL_LIMIT} printable characters")


def some(names: Sequence[str], most: int = 8) -> str:
    """The first of the names, as a message has them: a model may have thousands of classes."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def check_unique(field: str, names: Iterable[str]) -> None:
    """Raise FieldError for `field` where a name occurs twice."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    require(not twice, field, f"{', '.join(twice)} occurs more than once")
