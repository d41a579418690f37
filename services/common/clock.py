"""Time, as a thing that tests replace."""

import time
from typing import Final, Protocol


class Clock(Protocol):
    """Where a process reads the time."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC: for what is written down."""

    def monotonic(self) -> float:
        """Seconds that never run backwards: for what is measured."""


class SystemClock:
    """The machine's clock."""

    # The functions themselves: a call reads the time half a dozen times.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def recordable(seconds: float) -> float:
    """A time to the microsecond, as messages and databases keep it: who concludes from it must see what they will."""
    return round(seconds, 6)


# Those who fork have the same.
_BEGAN_NS: Final = time.time_ns() - time.monotonic_ns()


def steady_ns() -> int:
    """Nanoseconds since 1970 as they were when this process began, moved on by the monotonic clock.

    For times of which others take the difference: what a clock is set by is no time that something ran or counted.
    """
    return _BEGAN_NS + time.monotonic_ns()
