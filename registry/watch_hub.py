"""Fans changes of the routes out to watchers.

One task reads what is new, told by this process's own commits and by polling for those of other replicas; every watcher
reads from the same memory at its own pace, and from the database when it is further behind than that. So a slow watcher
holds no transaction and no other watcher.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol, TypeVar

import structlog

from registry.ports import RouteChange, Transaction
from services.common.clock import Clock
from services.common.errors import CrossfadeError, OutOfRangeError, UnavailableError

T = TypeVar("T")

_REMEMBERED: Final = 2_000
_BATCH: Final = 500
_READ_SECONDS: Final = 10.0
_BACKOFF_SECONDS: Final = 0.5


class Database(Protocol):
    """Runs a transaction off the event loop."""

    async def run(self, work: Callable[[Transaction], T], *, deadline: float, read_only: bool) -> T: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes of one revision.

    Attributes:
        snapshot: these are all lanes.
        lanes: serialized crossfade.registry.v1.LaneRoutes; none: a sign of life.
    """

    revision: int
    snapshot: bool
    lanes: tuple[bytes, ...]


class WatchHub:
    """The routes as of the latest revision that this process has seen.

    Args:
        database: reads.
        clock: measures deadlines.
        log: gets a line when the database is lost.
        poll_seconds: time between two looks for what other replicas wrote.
        heartbeat_seconds: a watch without news gets a sign of life this often.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        *,
        poll_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._batches: deque[Batch] = deque(maxlen=_REMEMBERED)
        self._begin = 0
        self.revision = 0
        """The latest revision whose changes are remembered."""
        self.latest = 0
        """The latest revision that this process has heard of."""
        self._closed = False
        self.watchers = 0
        """How many watches there are."""
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Learns where the routes stand."""
        self._loop = asyncio.get_running_loop()
        self.revision = self.latest = self._begin = await self._read(lambda tx: tx.routes.revision())

    def committed(self, revision: int) -> None:
        """Says from any thread that a commit made this revision."""
        self.latest = max(self.latest, revision)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def close(self) -> None:
        """Ends every watch."""
        self._closed = True
        self._tell()

    async def run(self) -> None:
        """Reads what is new until it is cancelled."""
        lost = False
        while True:
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._catch_up()
            except CrossfadeError as error:
                if not lost:
                    self._log.warning("routes cannot be read; watchers wait", reason=error.message)
                lost = True
                await asyncio.sleep(_BACKOFF_SECONDS)
            else:
                lost = False

    async def watch(self, start: int) -> AsyncIterator[Batch]:
        """Everything after `start`, each revision once and in order; all lanes first when it is 0.

        Raises:
            OutOfRangeError: REVISION_COMPACTED, the changes after `start` are gone.
            UnavailableError: DRAINING, the process ends.
        """
        position = start
        if start == 0:
            position, lanes = await self._read(lambda tx: tx.routes.snapshot())
            yield Batch(position, snapshot=True, lanes=tuple(lanes))
        else:
            oldest, revision, _ = await self._read_batches(start)
            if not oldest <= start <= revision:
                raise _compacted(start, oldest, revision)
        self.watchers += 1
        try:
            async for batch in self._follow(position):
                yield batch
        finally:
            self.watchers -= 1

    async def _follow(self, position: int) -> AsyncIterator[Batch]:
        while not self._closed:
            news = self._news
            batches = await self._after(position)
            for batch in batches:
                yield batch
                position = batch.revision
            if batches or self._closed:
                continue
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await news.wait()
            except TimeoutError:
                yield Batch(position, snapshot=False, lanes=())
        raise UnavailableError("DRAINING", "this Registry ends; watch again, from the last revision")

    async def _after(self, position: int) -> list[Batch]:
        """What is known after a position; from memory if it reaches back that far."""
        if position < self._begin:
            oldest, revision, batches = await self._read_batches(position)
            if not oldest <= position <= revision:
                raise _compacted(position, oldest, revision)
            return batches
        found: list[Batch] = []
        for batch in reversed(self._batches):
            if batch.revision <= position:
                break
            found.append(batch)
        found.reverse()
        return found

    async def _catch_up(self) -> None:
        while await self._read(lambda tx: tx.routes.revision()) > self.revision:
            _, latest, batches = await self._read_batches(self.revision)
            if not batches or batches[0].revision != self.revision + 1:
                # Compacted before we read it: what is remembered would have a hole, so it begins anew.
                self._batches.clear()
                self._begin = self.revision = batches[0].revision - 1 if batches else latest
            for batch in batches:
                if len(self._batches) == _REMEMBERED:
                    self._begin = self._batches[0].revision
                self._batches.append(batch)
                self.revision = batch.revision
            self.latest = max(self.latest, self.revision)
            self._tell()

    async def _read_batches(self, position: int) -> tuple[int, int, list[Batch]]:
        """In one transaction: up to where changes are gone, the latest revision, and changes after a position."""
        oldest, revision, changes = await self._read(
            lambda tx: (tx.routes.oldest(), tx.routes.revision(), tx.routes.changes(position, _BATCH))
        )
        batches = [
            Batch(number, snapshot=False, lanes=tuple(change.payload for change in group))
            for number, group in groupby(changes, key=_revision)
        ]
        return oldest, revision, batches

    async def _read(self, work: Callable[[Transaction], T]) -> T:
        return await self._database.run(work, deadline=self._clock.monotonic() + _READ_SECONDS, read_only=True)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _revision(change: RouteChange) -> int:
    return change.revision


def _compacted(position: int, oldest: int, revision: int) -> OutOfRangeError:
    state = "has not been reached" if position > revision else "is no longer kept"
    return OutOfRangeError(
        "REVISION_COMPACTED",
        f"revision {position} {state} (kept: {oldest} to {revision}); watch again with start_revision 0",
        oldest=str(oldest),
        revision=str(revision),
    )
