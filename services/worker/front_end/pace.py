"""When a caller that was turned away should come again, in plain Python."""

from typing import Final

_KEPT: Final = 0.8
_LEAST_SECONDS, _MOST_SECONDS = 0.01, 30.0
_UNKNOWN_SECONDS: Final = 0.1


class Pace:
    """How fast the engine runs rows, by the latest batches."""

    def __init__(self) -> None:
        self._row_seconds = 0.0

    def ran(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long."""
        latest = seconds / rows
        self._row_seconds = _KEPT * self._row_seconds + (1.0 - _KEPT) * latest if self._row_seconds else latest

    def seconds(self, rows: int) -> float:
        """How long rows that wait will take, 10 ms to 30 s; before the first batch 0.1 s."""
        if not self._row_seconds:
            return _UNKNOWN_SECONDS
        return min(max(rows * self._row_seconds, _LEAST_SECONDS), _MOST_SECONDS)
