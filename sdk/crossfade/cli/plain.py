"""What may reach a terminal. Pure.

Descriptions, reasons, classes and errors were written by others. A terminal takes some characters in them for commands
(ECMA-48): to move the cursor, to set its title, to fill the clipboard (xterm's OSC 52).
"""

import json
from typing import Final

_LAYOUT: Final = frozenset(map(ord, "\n\t"))
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_HARMLESS: Final = {code: _REPLACEMENT for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in _LAYOUT}


def plain(text: str) -> str:
    """The text with U+FFFD for each control character but line feed and tab: C0, DEL and C1."""
    return text.translate(_HARMLESS)


def json_line(payload: object) -> str:
    """The payload as one line of JSON, in ASCII."""
    return json.dumps(payload)


def json_block(payload: object) -> str:
    """The payload as JSON for people to read as well, in ASCII."""
    return json.dumps(payload, indent=2)
