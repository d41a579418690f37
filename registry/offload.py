"""Runs blocking work on a bounded number of threads, so that the event loop never waits for the database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from registry.ports import Transaction, UnitOfWork

T = TypeVar("T")


class Offload:
    """A bounded executor for one purpose.

    Args:
        unit_of_work: runs transactions.
        threads: at most so many at a time; further work waits.
        name: what the threads are called.
    """

    def __init__(self, unit_of_work: UnitOfWork, threads: int, name: str) -> None:
        self._unit_of_work = unit_of_work
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def call(self, work: Callable[[], T]) -> T:
        """What `work` answers."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def run(self, work: Callable[[Transaction], T], *, deadline: float, read_only: bool = False) -> T:
        """What a transaction answers."""
        return await self.call(lambda: self._unit_of_work.run(work, deadline=deadline, read_only=read_only))

    def close(self) -> None:
        """Waits for what runs and drops what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)
