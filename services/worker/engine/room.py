"""How large batches may be while the device's memory is short, in plain Python."""

from typing import Final

FULL_BATCHES: Final = 1_000
"""So many full batches after one was too large, twice as many rows are tried again; after each failed try twice as many
batches, since each costs its callers a run."""
_MOST_DOUBLINGS: Final = 6


class Room:
    """The largest batch of one device.

    Args:
        rows: that it is made for.
    """

    def __init__(self, rows: int) -> None:
        self._made_for = rows
        self._full = 0
        self._failures = 0

    def ran(self, rows: int, largest: int) -> int:
        """Rows of the largest batch after one of `rows` ran.

        Args:
            rows: of the batch.
            largest: that may be at present.
        """
        if largest >= self._made_for or rows < largest:
            return largest
        self._full += 1
        if self._full < FULL_BATCHES << min(self._failures - 1, _MOST_DOUBLINGS):
            return largest
        self._full = 0
        return min(2 * largest, self._made_for)

    def failed(self, rows: int, largest: int) -> int:
        """The same after one of `rows` that the memory was too small for."""
        if rows // 2 >= largest:
            # What was under way at the time.
            return largest
        self._full = 0
        self._failures += 1
        return rows // 2
