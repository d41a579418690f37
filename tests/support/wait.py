"""Waiting for a condition, with a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until `condition()` is true.

    Raises:
        TimeoutError: it was not in `seconds`.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true in {seconds} s")
        await asyncio.sleep(0.01)


async def until_async(condition: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """Waits until `await condition()` is true.

    Raises:
        TimeoutError: it was not in `seconds`.
    """
    end = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true in {seconds} s")
        await asyncio.sleep(0.02)
