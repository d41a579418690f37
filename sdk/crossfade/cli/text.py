"""Numbers, times and columns as people read them. Pure."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

FULL: Final = "█"
EMPTY: Final = "░"
MINUS: Final = "−"

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def count(number: int) -> str:
    """9,602."""
    return f"{number:,}"


def percent(rate: float, digits: int = 2) -> str:
    """0.0002 as `0.02 %`."""
    return f"{100 * rate:.{digits}f} %" if math.isfinite(rate) else "–"


def shares(parts: Sequence[tuple[str, float]], most: int = 8) -> str:
    """`keep 80.6 %, churn 19.4 %`; what is beyond the first `most` is counted."""
    return listed([f"{name} {percent(rate, 1)}" for name, rate in parts], most)


def listed(names: Sequence[str], most: int = 20) -> str:
    """`cat, dog`; what is beyond the first `most` is counted, for a model may have thousands of classes."""
    return ", ".join(names[:most]) + (f", and {count(len(names) - most)} more" if len(names) > most else "")


def number(value: float) -> str:
    """A value of any size in few characters: `18`, `1,132,375`, `0.6602`, `1.5e+09`."""
    if not math.isfinite(value):
        return "–"
    if abs(value) < 1e7 and (value == round(value) or abs(value) >= 1_000):
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS, 1) if value < 0 else f"{value:.4g}"


def shortened(name: str, width: int) -> str:
    """A name that fits, its end cut off."""
    return name if len(name) <= width else f"{name[: width - 1]}…"


def share(basis_points: int) -> str:
    """500 as `5 %`, 250 as `2.5 %`."""
    return f"{basis_points / 100:g} %"


def seconds(value: float) -> str:
    """A runtime: `340 µs`, `3.1 ms`, `1.2 s`."""
    if not math.isfinite(value) or value < 0:
        return "–"
    if value < 0.000_999_5:
        return f"{1e6 * value:.0f} µs"
    if value < 0.0995:
        return f"{1e3 * value:.1f} ms"
    return f"{1e3 * value:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


def span(value: float) -> str:
    """How long something takes, in at most two units: `14 s`, `4 min 10 s`, `2 h 5 min`, `3 d`."""
    whole = max(0, round(value))
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def clock(value: float) -> str:
    """Elapsed time: `0:09`, `4:12`, `1:00:00`."""
    whole = max(0, math.floor(value))
    hours, rest = divmod(whole, _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def signed(value: float, digits: int) -> str:
    """`+0.31`, `−0.06`, `0.00`."""
    if not math.isfinite(value):
        return "?"
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def size(octets: int) -> str:
    """`812 B`, `1.4 MB`."""
    value = float(octets)
    for unit in ("B", "kB", "MB"):
        if value < 1_000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1_000
    return f"{value:.1f} GB"


def bar(fraction: float, width: int) -> str:
    """A bar; anything above nothing shows, and only all of it fills it."""
    filled = math.floor(fraction * width) if math.isfinite(fraction) else 0
    if fraction > 0:
        filled = max(1, filled)
    filled = min(max(filled, 0), width)
    return FULL * filled + EMPTY * (width - filled)


def unix(moment: Timestamp) -> float:
    """Seconds since 1970."""
    return moment.seconds + moment.nanos / 1e9


def duration_seconds(duration: Duration) -> float:
    """A duration's seconds."""
    return duration.seconds + duration.nanos / 1e9


def whole_units(seconds: float) -> float:
    """A duration that is easily written, no shorter: whole days, hours, minutes or seconds."""
    size = next((size for size in (_DAY, _HOUR, _MINUTE) if seconds >= 2 * size), 1)
    return size * math.ceil(seconds / size)


def moment(stamp: Timestamp, zone: tzinfo | None = None) -> str:
    """`2026-01-31 14:05:09`, in the given zone; default: this machine's."""
    return datetime.fromtimestamp(unix(stamp), zone).strftime("%Y-%m-%d %H:%M:%S")


def actor(name: str) -> str:
    """Who: `local:ana` as `ana`, `spiffe://crossfade/operator/ana` as `ana (operator)`."""
    if name.startswith("local:"):
        return name.removeprefix("local:")
    if name.startswith("spiffe://"):
        role, _, own = name.removeprefix("spiffe://").partition("/")[2].partition("/")
        return own if not role or own.startswith(role) else f"{own or role} ({role})"
    return name


def last_part(name: str) -> str:
    """`models/churn/versions/v2` as `v2`."""
    return name.rpartition("/")[2]


def plural(number: int, one: str, many: str = "") -> str:
    """`1 worker`, `2 workers`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def gist(reason: str) -> str:
    """The first part of a reason: `v2 is no worse than v1` of `v2 is no worse than v1: v2 failed …; …`."""
    return reason.partition("; ")[0].partition(": ")[0].rstrip(".")


def columns(rows: Sequence[Sequence[str | Text]], right: Iterable[int] = (), indent: int = 0) -> list[Text]:
    """Rows of cells as aligned lines, two spaces between columns, none at the end.

    Args:
        rows: cells; shorter rows have empty cells at their end.
        right: columns that are aligned to the right.
        indent: spaces before each line.
    """
    to_right = frozenset(right)
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    widths = [
        max((row[column].cell_len for row in cells if column < len(row)), default=0)
        for column in range(max(map(len, cells), default=0))
    ]
    lines = []
    for row in cells:
        line = Text(" " * indent)
        for column, cell in enumerate(row):
            space = " " * (widths[column] - cell.cell_len)
            line.append("  " if column else "")
            line.append_text(Text(space) + cell if column in to_right else cell + Text(space))
        line.rstrip()
        lines.append(line)
    return lines


def join(lines: Iterable[Text | str]) -> Text:
    """Lines as one text."""
    return Text("\n").join(Text(line) if isinstance(line, str) else line for line in lines)
