"""Work on threads that nobody waits for."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from services.common.threads import on_thread
from tests.support.wait import until


async def test_answers_and_errors_come_back() -> None:
    assert await on_thread(lambda _: threading.current_thread().name, "reader") == "reader"

    def fail(_: Callable[[], bool]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await on_thread(fail, "reader")


async def test_work_hears_that_nobody_waits_any_more() -> None:
    heard = threading.Event()
    begun = threading.Event()

    def work(is_over: Callable[[], bool]) -> None:
        begun.set()
        while not is_over():
            threading.Event().wait(0.005)
        heard.set()

    waiting = asyncio.create_task(on_thread(work, "reader"))
    await until(begun.is_set)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(heard.is_set)
