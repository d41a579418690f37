"""Text that others have written, as it can be stored and sent."""

import re
from collections.abc import Collection
from itertools import islice
from typing import Final

_TURNING: Final = "\u202a-\u202e\u2066-\u2069"
"""Embeddings, overrides and isolates (UAX #9): they turn the order round in which people read what stands beside them
(Boucher and Anderson, "Trojan Source", 2021). The marks that right-to-left scripts are written with turn nothing."""
_CONTROL: Final = re.compile(f"[\0-\x08\x0b-\x1f\x7f-\x9f{_TURNING}]")
"""And C0 without tab and newline, DEL and C1 (ECMA-48): terminals act on them wherever they are shown."""
_ONE_LINE: Final = re.compile(f"[\0-\x1f\x7f-\x9f{_TURNING}]")

_SHOWN_CHARACTERS: Final = 64
_LISTED: Final = 20


def fitting(text: str, longest: int) -> str:
    """The text, cut where it is longer than `longest` characters, without what is no character or acts on terminals.

    PostgreSQL's text cannot hold NUL, and UTF-8 no half of a surrogate pair (RFC 3629), while a program or an artifact
    may say anything, which must not keep what it says from being reported. Tabs and ends of lines stay.
    """
    lines = text.replace("\r\n", "\n")
    kept = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", lines).encode(errors="replace").decode()
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def fitting_bytes(text: str, most: int) -> str:
    """The text, cut where it takes more than `most` bytes of UTF-8, and without what is no character."""
    data = text.encode(errors="replace")
    return (data if len(data) <= most else data[: most - 3] + "…".encode()).decode(errors="ignore")


def control_character(text: str, *, lines: bool) -> str:
    """The first control character, as `U+001B`; empty: there is none.

    Args:
        text: what somebody wrote.
        lines: it may have several lines and tabs.
    """
    found = (_CONTROL if lines else _ONE_LINE).search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def shown(text: str) -> str:
    """A caller's words as an error quotes them: their beginning."""
    begin = text[: _SHOWN_CHARACTERS + 1].encode(errors="replace").decode()
    return repr(begin if len(begin) <= _SHOWN_CHARACTERS else f"{begin[: _SHOWN_CHARACTERS - 1]}…")


def listed(what: Collection[object], most: int = _LISTED) -> str:
    """The first of what an error lists, and how many more there are."""
    first = ", ".join(map(str, islice(what, most)))
    return first if len(what) <= most else f"{first} and {len(what) - most} more"


def first_line(error: BaseException) -> str:
    """The first line of what an error says: libraries add advice that is for their own callers."""
    return str(error).partition("\n")[0]
