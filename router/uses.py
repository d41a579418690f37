"""How many use a thing, so that it shows when nobody does any more without looking through all who might."""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

UsedT = TypeVar("UsedT", bound=Hashable)


class Uses(Generic[UsedT]):
    """Counts of uses."""

    def __init__(self) -> None:
        self._counts = Counter[UsedT]()
        self._all: frozenset[UsedT] | None = None

    @property
    def all(self) -> frozenset[UsedT]:
        """Whatever somebody uses; the same object until that changes."""
        if self._all is None:
            self._all = frozenset(self._counts)
        return self._all

    def add(self, used: Iterable[UsedT]) -> None:
        """Counts one use of each."""
        for one in used:
            if one not in self._counts:
                self._all = None
            self._counts[one] += 1

    def remove(self, used: Iterable[UsedT]) -> list[UsedT]:
        """Ends one use of each, and answers what nobody uses any more."""
        gone = list[UsedT]()
        for one in used:
            self._counts[one] -= 1
            if not self._counts[one]:
                del self._counts[one]
                gone.append(one)
        if gone:
            self._all = None
        return gone
