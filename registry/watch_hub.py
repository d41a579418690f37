"""Fans changes of the routes out to watchers.

One task reads what is new, told by this process's own commits and by polling for those of other replicas; every watcher
reads from the same memory at its own pace, and from the database when it is further behind than that. So a slow watcher
holds no transaction and no other watcher; and the task does not wait for what watches read for themselves.

A database can go back: a standby that lacks the last commits takes over, or a backup is put back. New revisions then
have numbers that others had. Their marks differ, so that it shows here and when a watch is resumed.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from itertools import groupby
from typing import Final, Protocol, TypeVar

import structlog

from registry.ports import Transaction
from registry.remembered_changes import Batch, RememberedChanges
from registry.repositories import KeptChanges, Position, RouteChange
from registry.shared_snapshot import SharedSnapshot
from services.common.clock import Clock
from services.common.errors import CrossfadeError, OutOfRangeError, ResourceExhaustedError, UnavailableError

T = TypeVar("T")

_BATCH: Final = 500
_READ_SECONDS: Final = 10.0
_BACKOFF_SECONDS: Final = 0.5
BLIND_SECONDS: Final = 10.0
"""A Registry that could not read the routes for so long sends its watches elsewhere: another one may well read them."""


class Database(Protocol):
    """Runs a transaction off the event loop."""

    async def run(self, work: Callable[[Transaction], T], *, deadline: float, read_only: bool) -> T: ...


class WatchHub:
    """The routes as of the latest revision that this process has seen.

    Args:
        database: reads what is new.
        watches_database: reads where watches begin, and what they are behind by.
        clock: measures deadlines.
        log: gets a line when the database is lost.
        poll_seconds: time between two looks for what other replicas wrote.
        heartbeat_seconds: a watch without news gets a sign of life this often.
        watches_per_principal: of one caller's name, at a time.
    """

    def __init__(
        self,
        database: Database,
        watches_database: Database,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        *,
        poll_seconds: float,
        heartbeat_seconds: float,
        watches_per_principal: int,
    ) -> None:
        self._database = database
        self._watches_database = watches_database
        self._clock = clock
        self._log = log
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._watches_per_principal = watches_per_principal
        self._snapshot = SharedSnapshot(self._read_for_watch)
        self._remembered = RememberedChanges()
        self.latest = 0
        """The latest revision that this process has heard of."""
        self._closed = False
        self._unread_since: float | None = None
        self._watches = Counter[str]()
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def watchers(self) -> int:
        """How many watches there are."""
        return self._watches.total()

    async def open(self) -> None:
        """Learns where the routes stand."""
        self._loop = asyncio.get_running_loop()
        self._begin_at(await self._read(lambda tx: tx.routes.latest()))

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

    async def watch(self, start: Position, principal: str) -> AsyncGenerator[Batch]:
        """Everything after `start`, each revision once and in order; all lanes first when it is revision 0.

        Args:
            start: where the watch stands.
            principal: whose it is.

        Raises:
            ResourceExhaustedError: TOO_MANY_WATCHES, of this principal.
            OutOfRangeError: REVISION_COMPACTED, the changes after `start` are gone; HISTORY_CHANGED, the database was
                put back to an earlier state.
            UnavailableError: DRAINING, the process ends; DATABASE_UNAVAILABLE, it has not read the routes for a while.
        """
        self._check_sight()
        if self._watches[principal] >= self._watches_per_principal:
            raise ResourceExhaustedError(
                "TOO_MANY_WATCHES",
                f"{principal} has {self._watches_per_principal} watches at this Registry, and more are not taken: end "
                "some, give processes names of their own, or set CROSSFADE_WATCHES_PER_PRINCIPAL",
                limit=str(self._watches_per_principal),
            )
        self._watches[principal] += 1
        try:
            if start.revision == 0:
                snapshot = await self._snapshot.get()
                position = snapshot.position
                yield Batch(position, snapshot=True, lanes=snapshot.lanes)
            else:
                kept = await self._read_for_watch(lambda tx: tx.routes.kept(start.revision))
                _check(start, kept)
                position = Position(start.revision, kept.mark)
            async for batch in self._follow(position):
                yield batch
        finally:
            self._watches[principal] -= 1
            if not self._watches[principal]:
                del self._watches[principal]

    async def _follow(self, position: Position) -> AsyncIterator[Batch]:
        while not self._closed:
            news = self._news
            batches = await self._after(position)
            for batch in batches:
                yield batch
                position = batch.position
            if batches or self._closed:
                continue
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await news.wait()
            except TimeoutError:
                self._check_sight()
                yield Batch(position, snapshot=False, lanes=())
        raise UnavailableError("DRAINING", "this Registry ends; watch again, from the last revision")

    def _check_sight(self) -> None:
        """A sign of life says that nothing has changed, which nobody knows who has not looked.

        Raises:
            UnavailableError: DATABASE_UNAVAILABLE.
        """
        since = self._unread_since
        if since is not None and self._clock.monotonic() - since >= BLIND_SECONDS:
            raise UnavailableError(
                "DATABASE_UNAVAILABLE",
                "this Registry's database does not answer; watch again, from the last revision, at another Registry "
                "if there is one",
            )

    async def _after(self, position: Position) -> list[Batch]:
        """What is known after a position; from memory if that is within it, and of the same history."""
        if not self._remembered.has(position):
            kept, batches = await self._read_for_watch(_changes_after(position))
            _check(position, kept)
            return batches
        known, found = self._remembered.after(position)
        if position.mark and position.mark != known.mark:
            raise _changed(position)
        return found

    async def _catch_up(self) -> None:
        while True:
            end = self._remembered.end
            kept, batches = await self._read(_changes_after(end))
            changed = kept.latest < end.revision or (end.revision > kept.oldest and kept.mark != end.mark)
            if changed:
                self._log.warning(
                    "the database was put back to an earlier state; watches begin anew",
                    known=end.revision,
                    revision=kept.latest,
                )
            elif kept.latest == end.revision:
                return
            if changed or not batches or batches[0].position.revision != end.revision + 1:
                # Not what follows, or compacted before we read it: what is remembered would have a hole.
                self._begin_at(await self._read(lambda tx: tx.routes.latest()))
            else:
                self._remembered.add(batches)
                self.latest = max(self.latest, self._remembered.end.revision)
            self._tell()

    def _begin_at(self, position: Position) -> None:
        """Remembers nothing up to there."""
        self._remembered.begin_at(position)
        self.latest = position.revision

    async def _read(self, work: Callable[[Transaction], T]) -> T:
        now = self._clock.monotonic()
        # Until one is answered: a process that stood still has not asked.
        self._unread_since = now if self._unread_since is None else self._unread_since
        answer = await self._database.run(work, deadline=now + _READ_SECONDS, read_only=True)
        self._unread_since = None
        return answer

    async def _read_for_watch(self, work: Callable[[Transaction], T]) -> T:
        deadline = self._clock.monotonic() + _READ_SECONDS
        return await self._watches_database.run(work, deadline=deadline, read_only=True)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _changes_after(position: Position) -> Callable[[Transaction], tuple[KeptChanges, list[Batch]]]:
    """In one transaction: which changes there are, and those after a position."""

    def read(tx: Transaction) -> tuple[KeptChanges, list[Batch]]:
        kept = tx.routes.kept(position.revision)
        limit = min(_BATCH, kept.latest - position.revision)
        changes = tx.routes.changes(position.revision, limit) if limit > 0 else []
        batches = [
            Batch(where, snapshot=False, lanes=tuple(change.payload for change in group))
            for where, group in groupby(changes, key=_position)
        ]
        return kept, batches

    return read


def _position(change: RouteChange) -> Position:
    return change.position


def _check(position: Position, kept: KeptChanges) -> None:
    """Refuses a position from which a watch cannot go on.

    Raises:
        OutOfRangeError: REVISION_COMPACTED, HISTORY_CHANGED.
    """
    number, state = position.revision, ""
    if number > kept.latest and not position.mark:
        state = "has not been reached"
    # The oldest one's own mark is no longer kept.
    elif number < kept.oldest or (number == kept.oldest and position.mark):
        state = "is no longer kept"
    if state:
        raise OutOfRangeError(
            "REVISION_COMPACTED",
            f"revision {number} {state} (kept: {kept.oldest} to {kept.latest}); watch again with start_revision 0",
            oldest=str(kept.oldest),
            revision=str(kept.latest),
        )
    if position.mark and position.mark != kept.mark:
        raise _changed(position)


def _changed(position: Position) -> OutOfRangeError:
    return OutOfRangeError(
        "HISTORY_CHANGED",
        f"the database was put back to an earlier state, which is not followed by revision {position.revision} as you "
        "know it; watch again with start_revision 0",
        revision=str(position.revision),
    )
