"""For how long clocks have gone on without being set: what is forgotten for its age is gone for good."""

from collections.abc import Sequence
from typing import Final

from services.common.clock import Clock

_SET_SECONDS: Final = 5.0
"""A clock that moved on by so much more, or less, than the monotonic one since it was last looked at was set."""


class Undisturbed:
    """Watches clocks.

    A host may start with a clock that is years ahead, and a database may fail over to one. That is put right within
    minutes; nobody knows a wrong clock from a right one before. So whoever removes what is old waits for a while after
    a start, and whenever a clock was set.

    Args:
        clocks: those by which things are old.
    """

    def __init__(self, clocks: Sequence[Clock]) -> None:
        self._clocks = clocks
        self._since = clocks[0].monotonic()
        self._offsets = self._read()

    @property
    def seconds(self) -> float:
        """Since they were last seen to have been set, or first looked at."""
        before, self._offsets = self._offsets, self._read()
        if any(abs(now - then) > _SET_SECONDS for now, then in zip(self._offsets, before, strict=True)):
            self._since = self._clocks[0].monotonic()
        return self._clocks[0].monotonic() - self._since

    def _read(self) -> list[float]:
        return [clock.now() - clock.monotonic() for clock in self._clocks]
