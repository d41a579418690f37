"""Text that others have written, as it can be stored and sent."""

from collections.abc import Collection
from itertools import islice
from typing import Final

_SHOWN_CHARACTERS: Final = 64
_LISTED: Final = 20


def fitting(text: str, longest: int) -> str:
    """The text, cut where it is longer than `longest` characters, and without what is no character.

    PostgreSQL's text cannot hold NUL, and UTF-8 no half of a surrogate pair (RFC 3629), while a program or an artifact
    may say anything, which must not keep what it says from being reported.
    """
    kept = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def fitting_bytes(text: str, most: int) -> str:
    """The text, cut where it takes more than `most` bytes of UTF-8, and without what is no character."""
    data = text.encode(errors="replace")
    return (data if len(data) <= most else data[: most - 3] + "…".encode()).decode(errors="ignore")


def shown(text: str) -> str:
    """A caller's words as an error quotes them: their beginning."""
    return repr(fitting(text[: _SHOWN_CHARACTERS + 1], _SHOWN_CHARACTERS))


def listed(what: Collection[object], most: int = _LISTED) -> str:
    """The first of what an error lists, and how many more there are."""
    first = ", ".join(map(str, islice(what, most)))
    return first if len(what) <= most else f"{first} and {len(what) - most} more"


def first_line(error: BaseException) -> str:
    """The first line of what an error says: libraries add advice that is for their own callers."""
    return str(error).partition("\n")[0]
