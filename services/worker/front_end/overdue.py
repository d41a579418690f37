"""One timer for all requests under way: one each would cost a tenth of what a small request costs."""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

ItemT = TypeVar("ItemT")

_TICK_SECONDS: Final = 0.005
"""How late an item's turn may come."""


class Overdue(Generic[ItemT]):
    """Looks at what is under way every few milliseconds, as long as there is something.

    Args:
        now: seconds of the monotonic clock.
        act: called with an item whose time has come; answers the item's next time, if there is one.
    """

    def __init__(self, now: Callable[[], float], act: Callable[[ItemT], float | None]) -> None:
        self._now = now
        self._act = act
        self._due: dict[ItemT, float] = {}
        self._ticking = False

    def add(self, item: ItemT, due: float) -> None:
        """Looks after an item from now on. `due`: when it is to be acted on, by the monotonic clock."""
        self._due[item] = due
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    def discard(self, item: ItemT) -> None:
        """Leaves an item alone; one that is not looked after is none to it."""
        self._due.pop(item, None)

    def _tick(self) -> None:
        now = self._now()
        for item in [item for item, due in self._due.items() if due <= now]:
            following = self._act(item)
            if following is None:
                self._due.pop(item, None)
            else:
                self._due[item] = following
        self._ticking = bool(self._due)
        if self._ticking:
            asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
