"""How a caller learns that its request has begun."""

import asyncio
import contextlib
from typing import Final

from grpc import aio

from crossfade import metadata as keys

MISSING_DEADLINE_SECONDS: Final = 30.0
"""What a call without a deadline gets."""

ACCEPT_SECONDS: Final = 0.1
"""A request that takes longer, or a quarter of the time that its caller gave, is told that it was accepted."""


class Acceptance:
    """Tells the caller that its request has begun, so that its outcome is charged: by the initial metadata, and again
    with the status.

    An answer says so by itself. Sending the metadata apart costs grpc 60 µs, so it goes ahead only of failures and of
    answers that take long.
    """

    def __init__(self, context: "aio.ServicerContext[bytes, bytes]") -> None:
        self._context = context
        self._sending: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begins to send the metadata."""
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def finish(self) -> None:
        """Waits until it is sent, if it was begun: grpc takes no answer meanwhile."""
        if self._sending is not None:
            # Whoever ends its waiting ends no sending that others may wait for.
            await asyncio.shield(self._sending)

    async def say(self) -> None:
        """Sends the metadata, if it has not been sent."""
        self.begin()
        await self.finish()

    def time_remaining(self) -> float | None:
        """Seconds to the caller's deadline; None: there is none."""
        return self._context.time_remaining()

    async def _send(self) -> None:
        # A caller that has gone needs no word of it.
        with contextlib.suppress(aio.BaseError):
            # grpc.aio's streams lose the one where a failure comes with it: its status may be read first.
            self._context.set_trailing_metadata(((keys.ACCEPTED, "1"),))
            await self._context.send_initial_metadata(((keys.ACCEPTED, "1"),))


def accept_seconds(left: float) -> float:
    """When a request is told that it was accepted, in seconds from its beginning.

    Args:
        left: how long its caller waits, in seconds.
    """
    return min(ACCEPT_SECONDS, left / 4)


def time_left(acceptance: Acceptance) -> tuple[float, bool]:
    """How long a caller waits, in seconds, and whether that is because it has set no deadline."""
    left = acceptance.time_remaining()
    return (MISSING_DEADLINE_SECONDS, True) if left is None else (left, False)
