"""Lanes that a version has left, and for how long what was counted in them is told yet."""

from collections.abc import Container, Iterable
from typing import Final

KEPT_SECONDS: Final = 900.0
"""So long a lane's counts stay when a version has left it: who asks why it was rolled back finds its last ones."""


class LeftLanes:
    """Which of the lanes that were counted in are over, and since when."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def over(self, counted: Iterable[str], held: Container[str], now: float) -> frozenset[str]:
        """Segments whose counts are told no more; the next look takes them for forgotten.

        Args:
            counted: segments that have counts.
            held: segments of the lanes that the version is in.
            now: seconds, on a clock that only goes forward.
        """
        left = [segment for segment in counted if segment not in held]
        self._since = {segment: self._since.get(segment, now) for segment in left}
        return frozenset(segment for segment, since in self._since.items() if now - since >= KEPT_SECONDS)
