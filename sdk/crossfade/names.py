"""Ids, and the resource names made of them: `models/{model}/versions/{version}`."""

import re
from typing import Final

LONGEST_ID: Final = 63
"""Characters of the longest id, each of one byte."""
ID_RULE: Final = (
    f"1 to {LONGEST_ID} letters, digits, '-', '_' and '.', beginning with a letter or a digit, and for a model "
    "lower-case letters"
)
"""What an id is, as every message says it."""
_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_ID - 1}}}\Z")
_MODEL = re.compile(r"models/([^/]+)\Z")
_VERSION = re.compile(r"models/([^/]+)/versions/([^/]+)\Z")
_ROLLOUT = re.compile(r"models/([^/]+)/rollouts/([1-9][0-9]{0,17})\Z")


def is_id(value: str) -> bool:
    """Whether `value` can be an id."""
    return _ID.match(value) is not None


def check_id(value: str, what: str) -> str:
    """Answers `value` if it can be an id; of a model that is there, its case is not looked at.

    Raises:
        ValueError: it is none by ID_RULE.
    """
    if not is_id(value):
        raise ValueError(no_id(value, what))
    return value


def check_new_model(value: str, what: str) -> str:
    """Answers `value` if a model can be called so: lower case, for it stands in addresses (`xds:///MODEL`).

    Raises:
        ValueError: it cannot.
    """
    if not is_id(value) or value != value.lower():
        raise ValueError(no_id(value, what))
    return value


def no_id(value: str, what: str) -> str:
    """`version 'v 1' is not an id: use …`."""
    return f"{what} {value!r} is not an id: use {ID_RULE}"


def model_name(model: str) -> str:
    """`models/{model}`."""
    return f"models/{model}"


def version_name(model: str, version: str) -> str:
    """`models/{model}/versions/{version}`."""
    return f"models/{model}/versions/{version}"


def rollout_name(model: str, rollout: int) -> str:
    """`models/{model}/rollouts/{rollout}`."""
    return f"models/{model}/rollouts/{rollout}"


def lane_title(segment: str) -> str:
    """What sentences call a lane: `the default lane`, `the lane of segment eu`."""
    return f"the lane of segment {segment}" if segment else "the default lane"


def parse_model(name: str) -> str:
    """The model's id in `models/{model}`.

    Raises:
        ValueError: the name has another form.
    """
    match = _MODEL.match(name)
    if match is None:
        raise ValueError(f"{name!r} is not a model's name: write models/MODEL")
    return match[1]


def parse_version(name: str) -> tuple[str, str]:
    """The model's and the version's id in `models/{model}/versions/{version}`.

    Raises:
        ValueError: the name has another form.
    """
    match = _VERSION.match(name)
    if match is None:
        raise ValueError(f"{name!r} is not a version's name: write models/MODEL/versions/VERSION")
    return match[1], match[2]


def parse_rollout(name: str) -> tuple[str, int]:
    """The model's id and the rollout's number in `models/{model}/rollouts/{rollout}`.

    Raises:
        ValueError: the name has another form.
    """
    match = _ROLLOUT.match(name)
    if match is None:
        raise ValueError(f"{name!r} is not a rollout's name: write models/MODEL/rollouts/NUMBER")
    return match[1], int(match[2])
