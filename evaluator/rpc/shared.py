"""An answer that all who ask at about the same time have together."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Asks once for all who want to know within a while.

    Args:
        ask: gives the answer.
        seconds: for how long it may be used.
        now: seconds that never run backwards.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._now = now
        self._until = 0.0
        self._asked: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """The answer. Raises what asking raises; whoever asks after that begins anew."""
        if self._asked is None or (self._asked.done() and (self._now() >= self._until or _failed(self._asked))):
            # From when it was asked: what it says is no older than that.
            self._until = self._now() + self._seconds
            self._asked = asyncio.ensure_future(self._ask())
        # One who stops waiting takes the answer from nobody else.
        return await asyncio.shield(self._asked)


def _failed(asked: "asyncio.Future[T]") -> bool:
    return asked.cancelled() or asked.exception() is not None
