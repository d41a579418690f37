"""Loops that must go on, whatever happens in them, until they are told to end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

AGAIN_SECONDS: Final = 1.0
"""Between the failure of a loop and its next beginning."""


async def begun_again(loop: Callable[[], Awaitable[None]], log: structlog.typing.FilteringBoundLogger) -> None:
    """Runs a loop to its end, and begins it again whenever an unexpected error has ended it.

    A cancellation that was not asked for is such an error: a call says so whose channel was closed (grpc.aio).

    Args:
        loop: may be cancelled, or return.
        log: gets the errors.
    """
    while True:
        try:
            return await loop()
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.error("a loop failed and begins again", exc_info=error)
            await asyncio.sleep(AGAIN_SECONDS)


async def wait_at_most(seconds: float, event: asyncio.Event) -> None:
    """Waits until an event is set, or for so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
