"""Where the rows of requests lie in a bounded stretch of memory, in plain Python.

Rows are handed out in a ring, each request's next to one another and after the one before it, so that the requests of
a batch mostly form one stretch that needs no copy.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Taken:
    first: int
    rows: int
    free: bool = False


class RowRing:
    """Hands out stretches of rows, oldest first in and out, and back in any order.

    Args:
        capacity: how many rows there are.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._taken: deque[_Taken] = deque()
        self._by_first: dict[int, _Taken] = {}
        self._next = 0

    def fits(self, rows: int) -> bool:
        """Whether there is such a stretch at this moment."""
        return self._place(rows) is not None

    def take(self, rows: int) -> int | None:
        """The first of so many rows in a row; None: there is no such stretch."""
        first = self._place(rows)
        if first is not None:
            taken = _Taken(first, rows)
            self._taken.append(taken)
            self._by_first[first] = taken
            self._next = first + rows
        return first

    def give_back(self, first: int) -> None:
        """Frees the rows that begin at `first`."""
        self._by_first.pop(first).free = True
        taken = self._taken
        while taken and taken[0].free:
            taken.popleft()

    def _place(self, rows: int) -> int | None:
        if not self._taken:
            # An idle ring begins anew, so that little memory is touched, and that is in the processor's caches.
            return 0 if rows <= self.capacity else None
        oldest, newest = self._taken[0].first, self._taken[-1].first
        if newest < oldest:
            return self._next if self._next + rows <= oldest else None
        if self._next + rows <= self.capacity:
            return self._next
        return 0 if rows <= oldest else None
