"""What is held no longer, and since when: much of it stays for a while, since somebody may ask for it yet."""

from collections.abc import Container, Hashable, Iterable
from typing import Final, Generic, TypeVar

LANE_SECONDS: Final = 900.0
"""So long a lane's counts stay when it is left: who asks why a version was rolled back finds its last ones."""

LeftT = TypeVar("LeftT", bound=Hashable)


class Left(Generic[LeftT]):
    """Which of what is kept (lanes, versions, ports) has been left for long enough.

    Args:
        seconds: for how long it stays.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[LeftT, float] = {}

    def over(self, kept: Iterable[LeftT], held: Container[LeftT], now: float) -> frozenset[LeftT]:
        """What need not be kept any more; the next look takes it for forgotten.

        Args:
            kept: all that there is.
            held: what of it is not left, or has been taken up again.
            now: seconds, on a clock that only goes forward.
        """
        left = [one for one in kept if one not in held]
        self._since = {one: self._since.get(one, now) for one in left}
        return frozenset(one for one, since in self._since.items() if now - since >= self._seconds)
