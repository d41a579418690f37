"""Lanes that are left (by a version, or by all), and for how long what was counted in them is told yet."""

from collections.abc import Container, Hashable, Iterable
from typing import Final, Generic, TypeVar

KEPT_SECONDS: Final = 900.0
"""So long a lane's counts stay when it is left: who asks why a version was rolled back finds its last ones."""

LaneT = TypeVar("LaneT", bound=Hashable)


class LeftLanes(Generic[LaneT]):
    """Which of the lanes that were counted in are over, and since when."""

    def __init__(self) -> None:
        self._since: dict[LaneT, float] = {}

    def over(self, counted: Iterable[LaneT], held: Container[LaneT], now: float) -> frozenset[LaneT]:
        """Lanes whose counts are told no more; the next look takes them for forgotten.

        Args:
            counted: lanes that have counts.
            held: lanes that are not left.
            now: seconds, on a clock that only goes forward.
        """
        left = [lane for lane in counted if lane not in held]
        self._since = {lane: self._since.get(lane, now) for lane in left}
        return frozenset(lane for lane, since in self._since.items() if now - since >= KEPT_SECONDS)
