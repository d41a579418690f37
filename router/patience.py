"""How long a caller waits for the test version before stable is asked as well."""

from collections import deque
from typing import Final

_REMEMBERED: Final = 512
_REFRESH: Final = 64
P99_FACTOR: Final = 4.0
SHARE_OF_TIME_LEFT: Final = 0.5
LEAST_SECONDS: Final = 0.02
"""Below this the scheduler's own delays would call stable for nothing."""


class Patience:
    """Learns the stable version's 99th percentile from its latest answers."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._since_refresh = 0
        self._p99: float | None = None

    def record(self, seconds: float) -> None:
        """Notes the duration of one of stable's answers."""
        self._durations.append(seconds)
        self._since_refresh += 1
        if self._since_refresh >= _REFRESH:
            self._since_refresh = 0
            ordered = sorted(self._durations)
            self._p99 = ordered[int(len(ordered) * 0.99)]

    def seconds(self, time_left: float) -> float:
        """min(half of the time left, 4 × stable's p99); only the former until p99 is known."""
        half = SHARE_OF_TIME_LEFT * time_left
        return half if self._p99 is None else min(half, max(LEAST_SECONDS, P99_FACTOR * self._p99))
