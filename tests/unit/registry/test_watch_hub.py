"""The hub, where it knows less than a watch of its own: the watch began while it had yet to read what is new."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import structlog

from registry.remembered_changes import MOST, Batch
from registry.repositories import KeptChanges, Position, RouteChange
from registry.servicer.parts import Snapshots
from registry.watch_hub import BLIND_SECONDS, Database, WatchHub
from services.common.errors import OutOfRangeError, ResourceExhaustedError, UnavailableError
from tests.fakes.clock import ManualClock
from tests.support.wait import until

T = TypeVar("T")


class Log:
    """Routes in memory; each change is one letter, and its revision's mark."""

    def __init__(self, history: str, oldest: int = 0) -> None:
        self.history = history
        self.oldest = oldest
        self.snapshots = 0
        """How many were read."""
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        """How often it was."""

    def latest(self) -> Position:
        """The last letter's place."""
        return Position(len(self.history), self.history[-1:])

    def kept(self, revision: int) -> KeptChanges:
        """Those after the oldest, which were not compacted."""
        mark = self.history[:revision][revision - 1 : revision] if revision > self.oldest else ""
        return KeptChanges(self.oldest, len(self.history), mark)

    def snapshot(self) -> tuple[Position, list[bytes]]:
        """The letters."""
        self.snapshots += 1
        return self.latest(), [letter.encode() for letter in self.history]

    def changes(self, after: int, limit: int) -> list[RouteChange]:
        """The letters after a place."""
        found = list(enumerate(self.history, 1))[after : after + limit]
        return [RouteChange(Position(number, letter), letter.encode()) for number, letter in found]

    async def run(self, work: Callable[[Any], T], *, deadline: float, read_only: bool) -> T:
        """What a transaction answers."""
        assert read_only
        assert deadline
        self.asked += 1
        await self.answers.wait()
        return work(SimpleNamespace(routes=self))


def hub_of(log: Log) -> WatchHub:
    return hub_with(log, log)


def hub_with(
    log: Database, watches: Database, *, clock: ManualClock | None = None, heartbeat_seconds: float = 10.0
) -> WatchHub:
    """A hub whose watches read from a database of their own."""
    return WatchHub(
        log,
        watches,
        clock or ManualClock(1.0),
        structlog.get_logger(),
        poll_seconds=0.01,
        heartbeat_seconds=heartbeat_seconds,
        watches_per_principal=100,
    )


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
    watch = hub.watch(Position(0), "ana")
    async with asyncio.timeout(5):
        assert (await anext(watch)).position == Position(5, "e")
        # All that the hub ever read agrees with it: it never knew of the revisions that are gone.
        log.history = later
        async with running(hub):
            with pytest.raises(OutOfRangeError) as caught:
                await anext(watch)
    assert caught.value.reason == "HISTORY_CHANGED"


async def test_a_watch_whose_revision_was_compacted_hears_of_no_other_history() -> None:
    # Of the last one that was compacted nobody knows any more whether it is the one that the watch has seen.
    hub = hub_of(Log("abcde", oldest=2))
    await hub.open()
    for number, reason in ((1, "REVISION_COMPACTED"), (2, "REVISION_COMPACTED"), (3, "HISTORY_CHANGED")):
        with pytest.raises(OutOfRangeError) as caught:
            await anext(hub.watch(Position(number, "another"), "ana"))
        assert caught.value.reason == reason
    assert (await anext(hub.watch(Position(2), "ana"))).lanes == (b"c",)


async def test_a_watch_that_is_ahead_of_the_hub_goes_on() -> None:
    log = Log("abc")
    hub = hub_of(log)
    await hub.open()
    log.history = "abcde"
    watch = hub.watch(Position(0), "ana")
    async with asyncio.timeout(5):
        assert (await anext(watch)).snapshot
        log.history = "abcdef"
        async with running(hub):
            assert (await anext(watch)).lanes == (b"f",)


async def test_a_watch_resumed_without_its_mark_has_one_from_then_on() -> None:
    log = Log("abcde")
    hub = hub_of(log)
    await hub.open()
    watch = hub.watch(Position(5), "ana")
    async with asyncio.timeout(5), running(hub):
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        log.history = "abcxyz"
        with pytest.raises(OutOfRangeError):
            await waiting


async def test_all_who_begin_at_one_revision_share_its_snapshot() -> None:
    log = Log("abc")
    hub = hub_of(log)
    await hub.open()
    watches = [hub.watch(Position(0), "ana") for _ in range(50)]
    async with asyncio.timeout(5):
        first = await asyncio.gather(*(anext(watch) for watch in watches))
        assert {batch.position for batch in first} == {Position(3, "c")}
        assert len({id(batch.lanes) for batch in first}) == log.snapshots == 1
        assert (await anext(hub.watch(Position(0), "ana"))).lanes is first[0].lanes
        # The database is past what the hub knows, and a watch that begins is told all the same.
        log.history = "abcd"
        assert (await anext(hub.watch(Position(0), "ana"))).position == Position(4, "d")
        log.history = "abxy"
        assert (await anext(hub.watch(Position(0), "ana"))).lanes == (b"a", b"b", b"x", b"y")
    assert log.snapshots == 3


async def test_who_gives_up_takes_the_snapshot_from_nobody() -> None:
    log = Log("abc")
    hub = hub_of(log)
    await hub.open()
    log.answers.clear()
    gives_up, stays = (asyncio.ensure_future(anext(hub.watch(Position(0), "ana"))) for _ in range(2))
    await asyncio.sleep(0)
    gives_up.cancel()
    log.answers.set()
    async with asyncio.timeout(5):
        assert (await stays).position == Position(3, "c")


async def test_news_come_while_watches_that_begin_wait_for_the_database() -> None:
    log, slow = Log("abc"), Log("abc")
    hub = hub_with(log, slow)
    await hub.open()
    async with asyncio.timeout(5), running(hub):
        watch = hub.watch(Position(0), "ana")
        await anext(watch)
        slow.answers.clear()
        begin = [asyncio.ensure_future(anext(hub.watch(Position(at), "bob"))) for at in (0, 0, 1, 2)]
        await asyncio.sleep(0)
        log.history = "abcd"
        assert (await anext(watch)).position == Position(4, "d")
        assert not any(one.done() for one in begin)
        for one in begin:
            one.cancel()


async def test_nobody_has_more_watches_than_are_allowed() -> None:
    hub = hub_of(Log("abc"))
    await hub.open()
    watches = [hub.watch(Position(0), "ana") for _ in range(100)]
    async with asyncio.timeout(5):
        for watch in watches:
            await anext(watch)
        with pytest.raises(ResourceExhaustedError) as caught:
            await anext(hub.watch(Position(0), "ana"))
        assert caught.value.reason == "TOO_MANY_WATCHES"
        assert "CROSSFADE_WATCHES_PER_PRINCIPAL" in caught.value.message
        others = hub.watch(Position(0), "bob")
        await anext(others)
        assert hub.watchers == 101
        await watches[0].aclose()
        await anext(hub.watch(Position(0), "ana"))


@pytest.mark.parametrize("begun", [False, True])
async def test_a_watch_further_behind_than_the_hub_remembers_gets_each_change(begun: bool) -> None:
    log = Log("ab")
    hub = hub_of(log)
    await hub.open()
    async with asyncio.timeout(20), running(hub):
        watch = hub.watch(Position(1), "ana")
        if begun:
            assert (await anext(watch)).position == Position(2, "b")
        # It reads nothing meanwhile.
        while len(log.history) < 3 * MOST:
            log.history += "cdefghijkl" * 7
            await until(lambda: hub.latest == len(log.history))
        found = list[Position]()
        while not found or found[-1].revision < len(log.history):
            found.append((await anext(watch)).position)
    assert found == [Position(number, letter) for number, letter in enumerate(log.history, 1)][1 + begun :]


async def test_between_two_snapshots_the_loop_does_all_else() -> None:
    snapshots, turns = Snapshots(), 0
    batch = Batch(Position(1, "a"), snapshot=True, lanes=())

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def begin() -> tuple[int, object]:
        (message,) = [one async for one in snapshots.messages(batch)]
        return turns, message

    task = asyncio.create_task(turn())
    found = await asyncio.gather(*(begin() for _ in range(50)))
    task.cancel()
    assert len({at for at, _ in found}) == len(found)
    assert len({id(message) for _, message in found}) == 1


async def test_who_cannot_read_the_routes_keeps_no_watch_from_going_to_another_replica() -> None:
    log, clock = Log("abc"), ManualClock(1.0)
    hub = hub_with(log, log, clock=clock, heartbeat_seconds=0.01)
    await hub.open()
    async with asyncio.timeout(10), running(hub):
        watch = hub.watch(Position(0), "ana")
        assert (await anext(watch)).snapshot
        # The database is silent: a sign of life says that nothing has changed, for as long as that is nearly so.
        log.answers.clear()
        asked = log.asked
        await until(lambda: log.asked > asked)
        assert (await anext(watch)).lanes == ()
        clock.advance(BLIND_SECONDS)
        for blind in (watch, hub.watch(Position(3, "c"), "ana"), hub.watch(Position(0), "ana")):
            with pytest.raises(UnavailableError) as caught:
                await anext(blind)
            assert caught.value.reason == "DATABASE_UNAVAILABLE"
        log.history = "abcd"
        log.answers.set()
        await until(lambda: hub.latest == 4)
        assert (await anext(hub.watch(Position(3, "c"), "ana"))).lanes == (b"d",)
