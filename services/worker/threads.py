"""Work on threads of its own that nobody waits for at the end.

The event loop's executor has few threads, and Python waits for them before it ends: a read that hangs would keep
processes from being started, and the Worker from ending.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def on_thread(work: Callable[[Callable[[], bool]], T], name: str) -> T:
    """What `work` answers, from a thread of its own.

    Args:
        work: is handed a function that says whether nobody waits for its answer any more.
        name: the thread's.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    left = threading.Event()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not future.done():
            set_outcome()

    def run() -> None:
        try:
            result = work(left.is_set)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
            outcome: Callable[[], None] = lambda error=error: future.set_exception(error)  # type: ignore[misc]  # noqa: E731
        else:
            outcome = lambda: future.set_result(result)  # noqa: E731
        if not left.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return await future
    finally:
        left.set()
