"""Clocks that a test moves."""

import time


class ManualClock:
    """Time in a test's hand: it stands until it is moved.

    Args:
        start: seconds since 1970-01-01 UTC at which it stands.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._set = 0.0

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._now + self._set

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves it on."""
        self._now += seconds

    def set(self, seconds: float) -> None:
        """Sets it by so many seconds, as NTP does."""
        self._set += seconds


class TickingClock(ManualClock):
    """Goes on by so many seconds at each look, so that whatever is timed by two looks takes as long.

    Args:
        seconds: from look to look.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(0.0)
        self._seconds = seconds

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        self.advance(self._seconds)
        return super().monotonic()


class RunningClock:
    """The machine's clock, which a test moves on, so that nobody has to wait."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time() + self._ahead

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Moves it on."""
        self._ahead += seconds
