"""Whether a version's requests come one at a time, in plain Python.

A row alone pays two changes of process on its way through the engine, and more for them than for its program where that
is small. Run where it came in it pays none; but what is run there at once is never found in company, for each is done
before the next is looked at. So every so often one waits a moment for others.
"""

from enum import Enum, auto
from typing import Final

_ALONE_AGAIN: Final = 32
"""So many requests in a row must have come alone before one is run here again: a batch of some pays more."""
_UNWATCHED: Final = 7
"""After so many that were run at once, one waits for others."""


class Way(Enum):
    """Where a request goes."""

    ENGINE = auto()
    HERE = auto()
    WAIT = auto()
    """Here, unless another one comes within a moment, with which it goes to the engine."""


class Solitude:
    """Sends each request on its way."""

    def __init__(self) -> None:
        self._together = 0
        self._unwatched = 0

    def way(self, *, alone: bool, single: bool) -> Way:
        """The way of the next request.

        Args:
            alone: no other one is under way; one that waits is.
            single: it has one row.
        """
        if not alone:
            self._together = _ALONE_AGAIN
            return Way.ENGINE
        if self._together:
            self._together -= 1
            return Way.ENGINE
        if not single:
            return Way.ENGINE
        self._unwatched = (self._unwatched + 1) % (_UNWATCHED + 1)
        return Way.HERE if self._unwatched else Way.WAIT
