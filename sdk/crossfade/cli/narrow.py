"""Writes to a terminal or a file whose encoding lacks a character: something like it, and never an error."""

import codecs
import io
from typing import Final

_ERRORS: Final = "crossfade.narrow"
_LIKE: Final = {
    "·": "|",
    "█": "#",
    "░": ".",
    "−": "-",
    "–": "-",
    # One character, as all whose columns are counted.
    "…": "~",
    "×": "x",
    "µ": "u",
    "±": "+-",
    "≥": ">=",
    "≤": "<=",
}


def tolerate(*streams: object) -> None:
    """Has text streams write what their encoding cannot say as something like it, or as `?`."""
    codecs.register_error(_ERRORS, _like)
    for stream in streams:
        # One that a test or an editor put there may be no such stream.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _like(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_LIKE.get(one, "?") for one in lacking), error.end
