"""Work on threads of its own that nobody waits for at the end.

The threads of an executor, the event loop's or another, are few, and Python waits for them before it ends, whatever
became of the executor: what hangs in one would keep the others' work from being done, and the process from ending.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def on_thread(work: Callable[[Callable[[], bool]], T], name: str) -> T:
    """What `work` answers, from a thread of its own.

    Args:
        work: is handed a function that says whether nobody waits for its answer any more.
        name: the thread's.
    """
    left = threading.Event()
    answer: Future[T] = Future()
    # From here on nobody's cancellation takes it from the thread that answers it.
    answer.set_running_or_notify_cancel()

    def run() -> None:
        try:
            answer.set_result(work(left.is_set))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
            answer.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return await asyncio.wrap_future(answer)
    finally:
        left.set()
