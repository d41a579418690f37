"""Whether to wait a moment for a larger batch, in plain Python.

A batch may leave whenever the device is free. Where many small requests come it had better not: one row costs nearly as
much as eight, on the device, and in processors and caches that reading and answering requests need too. So the engine
watches what short pauses bring, and pauses as long as that pays. A request that comes alone never waits.
"""

from typing import Final

_MOST_PAUSES: Final = 4
_PAYS: Final = 0.75
"""A pause pays if it brings three quarters as many rows as wait already."""
_WEIGHT: Final = 0.25
_PROBE_EVERY: Final = 16
"""Batches from one try to another whether a pause would pay by now."""


class Gathering:
    """Learns what the first, the second pause before a batch brings, and so on."""

    def __init__(self) -> None:
        self._brings = [0.0] * _MOST_PAUSES
        self._batches = 0

    def pays(self, pauses: int, rows: int, *, shared: bool) -> bool:
        """Whether to pause once more.

        Args:
            pauses: before this batch so far.
            rows: that wait.
            shared: requests have met before the device since the batch before.
        """
        # Word of a request that nobody waits for any more may be all that has come.
        if not rows or pauses >= _MOST_PAUSES:
            return False
        if self._brings[pauses] >= rows * _PAYS:
            return True
        if not shared:
            return False
        self._batches += 1
        return self._batches % _PROBE_EVERY == 0

    def brought(self, pauses: int, rows: int) -> None:
        """Takes in how many more rows waited after the pause that `pauses` had gone before."""
        self._brings[pauses] += _WEIGHT * (rows - self._brings[pauses])
