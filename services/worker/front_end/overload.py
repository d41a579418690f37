"""A front-end that turns many requests away leaves the processors to its engine."""

from collections.abc import Callable
from typing import Final

from services.common.clock import Clock

REFUSALS: Final = 200
WINDOW_SECONDS: Final = 10.0
"""A burst that a queue was too short for refuses fewer in the time."""


class Overload:
    """Counts refusals, and gives way once they are many.

    Each refusal takes a front-end nearly the processor time of an answer, and under a flood there is no end of them: on
    two cores at ten times its capacity, a version answered 0.6 of that capacity, and 1.1 with front-ends of lower
    priority (nice(2), 10). From the start it would cost small models a tenth of their throughput, and without
    privileges the way back is barred, so that it comes with the first flood and lasts as long as the process.

    Args:
        clock: says how long ago a refusal was.
        give_way: lowers this process's claim.
    """

    def __init__(self, clock: Clock, give_way: Callable[[], object]) -> None:
        self._clock = clock
        self._give_way = give_way
        self._given = False
        self._since = 0.0
        self._left = 0

    def refused(self) -> None:
        """A request was turned away, for the queue is full."""
        if self._given:
            return
        now = self._clock.monotonic()
        if now - self._since > WINDOW_SECONDS or not self._left:
            self._since, self._left = now, REFUSALS
        self._left -= 1
        if not self._left:
            self._given = True
            self._give_way()
