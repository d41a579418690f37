"""How long the batch under way has run, in plain Python, by looks from another process."""

from typing import Final

_LONGEST: Final = 2.0
"""Of a longer time between two looks, in usual ones, the rest does not count."""


class RunningTime:
    """Leaves out the time in which the machine stood still (suspended, frozen, moved): nothing ran then.

    Args:
        look_seconds: usual time between two looks.
        now: of the monotonic clock.
    """

    def __init__(self, look_seconds: float, now: float) -> None:
        self._longest = _LONGEST * look_seconds
        self._looked = now
        self._since = 0.0
        self._left_out = 0.0

    def look(self, since: float, now: float) -> float:
        """Seconds that the batch has run, as far as looks show.

        Args:
            since: when it began, by the monotonic clock; 0: none runs.
            now: of the same clock.
        """
        if since != self._since:
            self._since, self._left_out = since, 0.0
        self._left_out += max(0.0, now - max(since, self._looked) - self._longest)
        self._looked = now
        return now - since - self._left_out if since else 0.0
