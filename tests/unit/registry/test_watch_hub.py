"""The hub, where it knows less than a watch of its own: the watch began while it had yet to read what is new."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import structlog

from registry.ports import KeptChanges, Position, RouteChange
from registry.watch_hub import WatchHub
from services.common.errors import OutOfRangeError
from tests.fakes.clock import ManualClock

T = TypeVar("T")


class Log:
    """Routes in memory; each change is one letter, and its revision's mark."""

    def __init__(self, history: str) -> None:
        self.history = history

    def latest(self) -> Position:
        """The last letter's place."""
        return Position(len(self.history), self.history[-1:])

    def kept(self, revision: int) -> KeptChanges:
        """All of them."""
        return KeptChanges(0, len(self.history), self.history[:revision][revision - 1 : revision])

    def snapshot(self) -> tuple[Position, list[bytes]]:
        """The letters."""
        return self.latest(), [letter.encode() for letter in self.history]

    def changes(self, after: int, limit: int) -> list[RouteChange]:
        """The letters after a place."""
        found = list(enumerate(self.history, 1))[after : after + limit]
        return [RouteChange(Position(number, letter), letter.encode()) for number, letter in found]

    async def run(self, work: Callable[[Any], T], *, deadline: float, read_only: bool) -> T:
        """What a transaction answers."""
        assert read_only
        assert deadline
        return work(SimpleNamespace(routes=self))


def hub_of(log: Log) -> WatchHub:
    return WatchHub(log, ManualClock(1.0), structlog.get_logger(), poll_seconds=0.01, heartbeat_seconds=10.0)


@asynccontextmanager
async def running(hub: WatchHub) -> AsyncIterator[None]:
    """Reads what is new meanwhile."""
    task = asyncio.create_task(hub.run())
    yield
    task.cancel()


@pytest.mark.parametrize("later", ["abc", "abcx", "abcxy", "abcxyz"])
async def test_a_watch_that_is_ahead_of_the_hub_when_the_database_goes_back(later: str) -> None:
    log = Log("abc")
    hub = hub_of(log)
    await hub.open()
    log.history = "abcde"
    watch = hub.watch(Position(0))
    async with asyncio.timeout(5):
        assert (await anext(watch)).position == Position(5, "e")
        # All that the hub ever read agrees with it: it never knew of the revisions that are gone.
        log.history = later
        async with running(hub):
            with pytest.raises(OutOfRangeError) as caught:
                await anext(watch)
    assert caught.value.reason == "HISTORY_CHANGED"


async def test_a_watch_that_is_ahead_of_the_hub_goes_on() -> None:
    log = Log("abc")
    hub = hub_of(log)
    await hub.open()
    log.history = "abcde"
    watch = hub.watch(Position(0))
    async with asyncio.timeout(5):
        assert (await anext(watch)).snapshot
        log.history = "abcdef"
        async with running(hub):
            assert (await anext(watch)).lanes == (b"f",)


async def test_a_watch_resumed_without_its_mark_has_one_from_then_on() -> None:
    log = Log("abcde")
    hub = hub_of(log)
    await hub.open()
    watch = hub.watch(Position(5))
    async with asyncio.timeout(5), running(hub):
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        log.history = "abcxyz"
        with pytest.raises(OutOfRangeError):
            await waiting
