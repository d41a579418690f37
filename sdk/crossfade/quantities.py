"""Durations, shares and rates as people write them."""

import math
import re
from typing import Final

from google.protobuf.duration_pb2 import Duration

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|min|s|m|h|d))+\Z")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|s|m|h|d)")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\Z")
_LONGEST: Final = 366 * 86_400.0


def parse_duration(text: str) -> float:
    """Seconds of `30s`, `5m`, `1h30m`, `500ms`, `2d` or `0`; another number needs its unit, or 30 would be anything.

    Raises:
        ValueError: the text is none of these, or longer than a year.
    """
    written = text.strip().replace(" ", "")
    if _NUMBER.match(written):
        value = float(written)
        if value > 0:
            raise ValueError(f"{text!r} has no unit: write {value:.10g}s for seconds, {value:.10g}m for minutes")
    elif _DURATION.match(written):
        value = math.fsum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(written))
    else:
        raise ValueError(f"{text!r} is no duration: write 30s, 5m, 1h30m or 2d")
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{text!r} is out of range: 0s to 366d")
    return value


def format_duration(seconds: float) -> str:
    """A duration as `parse_duration` reads it, to the millisecond: `1h30m`, `31d`, `0.5s`.

    What is none is written as well, for errors: `-1h`, and what is shorter as `1e-06s`.
    """
    left = round(abs(seconds) * 1000)
    if seconds and not left:
        return f"{seconds:g}s"
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    if left or not parts:
        parts.append(f"{left / 1000:g}s")
    return ("-" if seconds < 0 else "") + "".join(parts)


def parse_share(text: str) -> int:
    """Basis points of `5%` or `2.5 %`; a number alone may mean per cent or basis points.

    Raises:
        ValueError: the text is no share, or not more than 0 % and at most 100 %.
    """
    written = text.strip().replace(" ", "")
    number = written.removesuffix("%")
    if not _NUMBER.match(number):
        raise ValueError(f"{text!r} is no share: write 5%")
    if number == written:
        raise ValueError(f"{text!r} has no %: write 5%, or 0.05% for 5 basis points")
    points = float(number) * 100
    if not 0 < points <= 10_000 or not round(points, 6):
        raise ValueError(f"{text!r} is out of range: more than 0 % and at most 100 %")
    if abs(points - round(points)) > 1e-6:
        raise ValueError(f"{text!r} is too fine: shares are whole basis points, 0.01 %")
    return round(points)


def parse_basis_points(text: str) -> int:
    """Basis points of a whole number of them.

    Raises:
        ValueError: the text is none, or not from 1 to 10,000.
    """
    written = text.strip()
    if not written.isdecimal() or not 0 < int(written) <= 10_000:
        raise ValueError(f"{text!r} is no number of basis points: write 500 for 5 %, 10000 at most")
    return int(written)


def parse_rate(text: str) -> float:
    """A number, or `0.5%` as 0.005.

    Raises:
        ValueError: the text is neither.
    """
    written = text.strip().replace(" ", "")
    number = written.removesuffix("%")
    if not _NUMBER.match(number):
        raise ValueError(f"{text!r} is no number: write 0.01, or 1%")
    return float(number) / (100 if number != written else 1)


def to_duration(seconds: float) -> Duration:
    """Seconds as a protobuf duration."""
    whole = math.floor(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
