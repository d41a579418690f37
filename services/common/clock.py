"""Time, as a thing that tests replace."""

import time
from typing import Protocol


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
