"""The routes of all lanes, read once for all who ask for them at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from registry.ports import Transaction
from registry.repositories import Position
from registry.shielded import shielded


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The routes of all lanes as of one revision: serialized crossfade.registry.v1.LaneRoutes."""

    position: Position
    lanes: tuple[bytes, ...]


class SharedSnapshot:
    """One snapshot per revision, whoever asks for it.

    Nobody is given what the database is past already: each asker's reading begins after it has asked, and reads the
    revision first. All who ask until it begins share it, so that one reading runs and one waits, however many ask.

    Args:
        read: runs a transaction that reads.
    """

    def __init__(self, read: Callable[[Callable[[Transaction], Snapshot]], Awaitable[Snapshot]]) -> None:
        self._read = read
        self._kept: Snapshot | None = None
        self._running: asyncio.Task[Snapshot] | None = None
        self._waiting: asyncio.Task[Snapshot] | None = None

    async def get(self) -> Snapshot:
        """The latest one. Raises what reading raises."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._read_after(self._running))
        # One who stops asking stops nobody else's reading.
        return await shielded(self._waiting)

    async def _read_after(self, running: "asyncio.Task[Snapshot] | None") -> Snapshot:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._waiting = self._waiting, None
        kept = self._kept
        self._kept = await self._read(lambda tx: _latest(tx, kept))
        return self._kept


def _latest(tx: Transaction, kept: Snapshot | None) -> Snapshot:
    """The one that is kept if the routes have not changed since: a mark never comes again."""
    if kept is not None and kept.position.mark and kept.position == tx.routes.latest():
        return kept
    position, lanes = tx.routes.snapshot()
    return Snapshot(position, tuple(lanes))
