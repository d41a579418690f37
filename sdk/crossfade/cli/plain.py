"""What may reach a terminal. Pure.

Descriptions, reasons, classes and errors were written by others. A terminal takes some characters in them for commands
(ECMA-48): to move the cursor, to set its title, to fill the clipboard (xterm's OSC 52). Some turn the order round in
which what stands beside them is read (UAX #9: embeddings, overrides, isolates).
"""

import json
from typing import Final

_LAYOUT: Final = frozenset(map(ord, "\n\t"))
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_TURNING: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ACTED_ON: Final = (*range(0x20), *range(0x7F, 0xA0), *_TURNING)
_HARMLESS: Final = {code: _REPLACEMENT for code in _ACTED_ON if code not in _LAYOUT}


def plain(text: str) -> str:
    """The text with U+FFFD for each control character but line feed and tab: C0, DEL, C1, and what turns an order."""
    return text.translate(_HARMLESS)


def json_line(payload: object) -> str:
    """The payload as one line of JSON, in ASCII."""
    return json.dumps(payload)


def json_block(payload: object) -> str:
    """The payload as JSON for people to read as well, in ASCII."""
    return json.dumps(payload, indent=2)
