"""Lines that are longer than a terminal is wide, broken between words; what goes on stands further in. Pure."""

from typing import Final

from rich.cells import cell_len
from rich.text import Text

_FURTHER: Final = 4
_COMMAND: Final = "crossfade "
"""What a command begins with; a line that has one is left whole, since it is copied as it stands."""


def hung(text: Text, width: int) -> Text:
    """The text with no line longer than that, but for words that are, and lines with a command.

    Args:
        text: lines; the cells of a table have two spaces between them.
        width: columns.
    """
    lines = text.split("\n", allow_blank=True)
    return Text("\n").join(part for line in lines for part in _broken(line, width))


def _broken(line: Text, width: int) -> list[Text]:
    if _COMMAND in line.plain:
        return [line]
    indent = _indent(line.plain, width)
    parts: list[Text] = []
    rest, lead = line, ""
    while rest.cell_len > width - len(lead):
        cut = _cut(rest.plain, width - len(lead))
        if cut < 0:
            break
        head, rest = rest[:cut], rest[cut:]
        head.rstrip()
        parts.append(Text(lead) + head)
        rest = rest[len(rest.plain) - len(rest.plain.lstrip(" ")) :]
        lead = " " * indent
    return [*parts, Text(lead) + rest] if rest.plain or not parts else parts


def _indent(plain: str, width: int) -> int:
    """Where a line goes on: below its last cell, if that leaves it half of the width; else a little further in."""
    own = len(plain) - len(plain.lstrip(" "))
    gap = plain.rfind("  ", own, width)
    below = gap + len("  ") if own <= gap < width // 2 else own + _FURTHER
    return min(below, width // 2)


def _cut(plain: str, room: int) -> int:
    """The last space up to which it fits, or the first one beyond; negative: there is none."""
    own = len(plain) - len(plain.lstrip(" "))
    spaces = [place for place, one in enumerate(plain) if one == " " and place > own]
    fitting = [place for place in spaces if cell_len(plain[:place]) <= room]
    return fitting[-1] if fitting else next(iter(spaces), -1)
