"""The latest changes of the routes, in memory: watches that are not far behind need not read them."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from registry.repositories import Position

MOST: Final = 2_000
MOST_OCTETS: Final = 64 << 20
"""Routes have their versions' signatures: of a model with 1,000 classes a change has a tenth of a megabyte, and one
revision may change the routes of all lanes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes of one revision.

    Attributes:
        position: where a watch stands after them.
        snapshot: these are all lanes.
        lanes: serialized crossfade.registry.v1.LaneRoutes; none: a sign of life.
    """

    position: Position
    snapshot: bool
    lanes: tuple[bytes, ...]

    @property
    def octets(self) -> int:
        """How much memory they take, nearly."""
        return sum(map(len, self.lanes))


class RememberedChanges:
    """The changes after one position up to another; the oldest go first, and the latest one stays whatever it takes.

    Attributes:
        begin: before the oldest that are remembered.
        end: after the latest.
    """

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._octets = 0
        self.begin = self.end = Position(0)

    def begin_at(self, position: Position) -> None:
        """Remembers nothing up to there."""
        self._batches.clear()
        self._octets = 0
        self.begin = self.end = position

    def add(self, batches: Iterable[Batch]) -> None:
        """Remembers what follows the end."""
        for batch in batches:
            self._batches.append(batch)
            self._octets += batch.octets
            self.end = batch.position
            while len(self._batches) > MOST or (self._octets > MOST_OCTETS and len(self._batches) > 1):
                oldest = self._batches.popleft()
                self._octets -= oldest.octets
                self.begin = oldest.position

    def has(self, position: Position) -> bool:
        """Whether all that was changed after a position is remembered."""
        return self.begin.revision <= position.revision <= self.end.revision

    def after(self, position: Position) -> tuple[Position, list[Batch]]:
        """The position of that revision as it is known here, and the changes after it."""
        found, known = list[Batch](), self.begin
        for batch in reversed(self._batches):
            if batch.position.revision <= position.revision:
                known = batch.position
                break
            found.append(batch)
        found.reverse()
        return known, found
