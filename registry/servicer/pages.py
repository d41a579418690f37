"""Pages of lists, and their tokens: the last key of a page, opaque to callers and of use for the same list only."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, TypeVar

from google.protobuf.message import Message

from crossfade.names import is_id
from registry.servicer.policy_validation import refuse
from registry.servicer.validation import LATEST_SECONDS
from registry.sizes import fitting

RowT = TypeVar("RowT")
MessageT = TypeVar("MessageT", bound=Message)
Key = tuple[str | int | float, ...]
"""Ids, numbers from 0 and times (seconds since 1970)."""

_NUMBERS: Final = 2**63
"""The first that the database cannot hold."""


def write(listed: str, key: Key) -> str:
    """The token of the page that begins after `key`.

    Args:
        listed: what is listed, with its filters; a token of another list is refused.
    """
    raw = json.dumps([_mark(listed), *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).rstrip(b"=").decode()


def read(listed: str, token: str, form: Key) -> Key | None:
    """The key in a token; None for an empty token, which is the first page.

    Args:
        form: an example of the key; the types must be the same.

    Raises:
        InvalidArgumentError: FIELD_INVALID, the token is not from the same list.
    """
    if not token:
        return None
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    if isinstance(values, list) and len(values) == len(form) + 1 and values[0] == _mark(listed):
        key = tuple(values[1:])
        if all(_like(value, example) for value, example in zip(key, form, strict=True)):
            return key
    raise refuse("page_token", "is not from the answer before to the same list; begin again without it")


def cut(
    listed: str,
    found: Sequence[RowT],
    size: int,
    convert: Callable[[RowT], MessageT],
    key: Callable[[RowT], Key],
    *,
    cut_short: bool = False,
) -> tuple[list[MessageT], str]:
    """A page of what was found, and the token of the next one; empty: it is the last.

    Args:
        listed: what is listed, with its filters.
        found: the rows from the page's first on, one more than it may have if there are as many.
        size: how many it may have. It has fewer where more would be too large for an answer.
        convert: a row on the wire.
        key: of a row.
        cut_short: there are more rows than those found.
    """
    page = fitting(map(convert, islice(found, size)), lambda message: message.ByteSize())
    return page, write(listed, key(found[len(page) - 1])) if cut_short or len(page) < len(found) else ""


def _like(value: object, example: str | float) -> bool:
    """Whether a part of a token can be one that was written: a token is easily forged, and asks the database."""
    if type(value) is not type(example):
        return False
    if isinstance(value, str):
        return is_id(value)
    if isinstance(value, float):
        return 0 <= value < LATEST_SECONDS
    return isinstance(value, int) and 0 <= value < _NUMBERS


def _mark(listed: str) -> str:
    return hashlib.sha256(listed.encode()).hexdigest()[:12]
