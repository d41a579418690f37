"""Waiting for what goes on whether or not anybody waits for it."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def shielded(work: "asyncio.Task[T]") -> T:
    """What it answers; whoever stops waiting does not end it.

    A failure that nobody waits for any more is told to nobody: asyncio would take it for one that was overlooked, and
    have it in the log as an error of this process.
    """
    work.add_done_callback(_look)
    return await asyncio.shield(work)


def _look(work: "asyncio.Task[T]") -> None:
    if not work.cancelled():
        work.exception()
