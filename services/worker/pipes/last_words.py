"""What a process says last over its pipe, which ends with it."""

import asyncio
import contextlib
from typing import Final

SECONDS: Final = 2.0
"""A listener that has not taken it by then hears less; a Worker that ends gives its processes more time than this."""


def say(writer: asyncio.StreamWriter, frame: bytes) -> None:
    """Writes a frame, if nothing was said last yet: whoever is asked for something at that moment may answer later.

    Args:
        writer: of the pipe; uvloop's takes nothing once it closes.
        frame: what is said.
    """
    if not writer.is_closing():
        writer.write(frame)


async def say_last(writer: asyncio.StreamWriter, frame: bytes = b"", seconds: float = SECONDS) -> None:
    """Writes a frame, closes the pipe, and waits until the other side has taken everything.

    A pipe holds some 200 KB; the rest would end with the event loop.

    Args:
        writer: of the pipe; on one that closes already nothing is written.
        frame: what is said, besides what was said already.
        seconds: the longest wait.
    """
    if not writer.is_closing():
        writer.write(frame)
        writer.close()
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(seconds):
            await writer.wait_closed()
