"""Moments as people write them."""

import datetime as dt
from typing import Final

from crossfade.cli.errors import UsageError
from crossfade.quantities import parse_duration

_DATE_DIGITS: Final = len("20261124")


def parse_when(value: str, option: str, now: dt.datetime) -> dt.datetime:
    """A moment: `2026-11-24 14:00` (local time unless it has a zone), `14:00` (today), or `2h` (so long ago).

    Args:
        value: as written.
        option: for the error.
        now: with its zone.

    Raises:
        UsageError: it is none of these.
    """
    try:
        return now - dt.timedelta(seconds=parse_duration(value))
    except ValueError:
        pass
    # Python takes 14 for 14:00, where somebody may mean 14 hours ago.
    alone = value.strip().isdecimal() and len(value.strip()) < _DATE_DIGITS
    for text in () if alone else (value, f"{now:%Y-%m-%d}T{value}"):
        try:
            found = dt.datetime.fromisoformat(text)
            # The local zone's offset of that day, which need not be today's; the first and the last one have none, nor
            # have they one of UTC.
            local = found.astimezone()
            local.astimezone(dt.UTC)
            return local if found.tzinfo is None else found
        except (ValueError, OverflowError):
            continue
    raise UsageError(f"{option}: {value!r} is no moment: write 2026-11-24 14:00, 14:00 (today) or 2h (ago)")
