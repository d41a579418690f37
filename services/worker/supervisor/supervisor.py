"""Keeps what runs as it is wanted: a thin loop around `plan.decide` that carries its actions out."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from services.common.clock import Clock
from services.common.telemetry.store import Snapshot
from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.folders import Folders
from services.worker.domain import Lane, ServingKey
from services.worker.settings import WorkerSettings
from services.worker.supervisor.entries import Entry, Serving, serving_of
from services.worker.supervisor.lives import Lives
from services.worker.supervisor.plan import (
    Abandon,
    Action,
    Drain,
    Fail,
    Fetch,
    Forget,
    Load,
    Phase,
    Tell,
    decide,
    wanted_keys,
)
from services.worker.supervisor.plan import Snapshot as PlanSnapshot
from services.worker.supervisor.ports import Ports
from services.worker.supervisor.process import ForkServer

UNANSWERED_POLLS: Final = 10
"""A process that leaves so many in a row unanswered has crashed; each is waited for, for a second."""
_TICK_SECONDS: Final = 0.5
_COUNT_SECONDS: Final = 1.0


class Supervisor:
    """Starts, watches and ends the versions' processes.

    Args:
        settings: the Worker's.
        instance_id: the Worker's.
        clock: for crashes, limits and retries.
        log: the Worker's.
        cache: fetches artifacts.
        forks: starts processes.
        ports: gives each version and kind of traffic its address.
        on_change: called whenever what `servings` answers has changed.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        instance_id: str,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        cache: ArtifactCache,
        forks: ForkServer,
        ports: Ports,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._ports = ports
        self._on_change = on_change
        self._lanes: tuple[Lane, ...] = ()
        self._folders = Folders(cache, settings.fetch_seconds)
        self._lives = Lives(
            settings,
            instance_id,
            clock=clock,
            log=log,
            folders=self._folders,
            forks=forks,
            ports=ports,
            on_change=self._changed,
        )
        self._entries = self._lives.entries
        self._stopping = False
        self._wake = asyncio.Event()

    def follow(self, lanes: Sequence[Lane]) -> None:
        """Takes over new routes."""
        self._lanes = tuple(lanes)
        self._wake.set()

    def servings(self) -> list[Serving]:
        """What is held, by model, version and kind of traffic."""
        now = self._clock.monotonic()
        return [
            serving_of(key, entry, self._ports.advertised_address, now) for key, entry in sorted(self._entries.items())
        ]

    @property
    def complete(self) -> bool:
        """Whether all that is wanted is ready."""
        return not self._stopping and self._wanted() <= self._ready_keys()

    def pids(self) -> dict[ServingKey, int]:
        """The process ids of what runs."""
        return {key: entry.process.pid for key, entry in self._entries.items() if entry.process is not None}

    async def counts(self, model: str = "") -> list[Snapshot]:
        """Every series of every process at this moment, added up with those of processes that have ended.

        Args:
            model: only of this model's processes; "": of all.
        """
        entries = [(key, entry) for key, entry in self._entries.items() if model in ("", key.model)]
        await asyncio.gather(*(self._poll(key, entry) for key, entry in entries))
        states = self._lives.meters.snapshot(self._wanted(), self._ready_keys())
        return [*self._lives.totals.sum(model), *(one for one in states if model in ("", one.attributes[0]))]

    async def run(self) -> None:
        """Keeps what runs as it is wanted, until `stop` has ended everything."""
        polled = self._clock.monotonic()
        while not (self._stopping and not self._entries):
            self._wake.clear()
            self._reconcile()
            try:
                async with asyncio.timeout(min(_TICK_SECONDS, self._settings.poll_seconds)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            now = self._clock.monotonic()
            if now - polled >= self._settings.poll_seconds:
                polled = now
                await asyncio.gather(*(self._look(key, entry) for key, entry in list(self._entries.items())))
                self._lives.totals.prune(self._entries, self._lanes, now)
                self._ports.prune(self._entries, now)

    def stop(self) -> None:
        """Drains everything; `run` returns when all has ended."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Ends at once whatever still runs."""
        self._lives.end_all()
        self._ports.close()

    async def _look(self, key: ServingKey, entry: Entry) -> None:
        """Polls a process, and ends one that has left many polls unanswered; late answers are answers."""
        await self._poll(key, entry)
        if entry.process is None or entry.phase is not Phase.READY:
            return
        unanswered = entry.process.link.look()
        if unanswered >= UNANSWERED_POLLS:
            entry.silence = f"it left {unanswered} polls unanswered, so that it was taken to hang"
            entry.process.kill()

    async def _poll(self, key: ServingKey, entry: Entry) -> None:
        if entry.process is None or entry.phase not in (Phase.READY, Phase.DRAINING):
            return
        counts = await entry.process.link.counts(_COUNT_SECONDS)
        # A process may end while it is asked; what it has counted then is in the totals already.
        if counts is not None and entry.process is not None:
            self._lives.totals.update(key, counts)

    def _wanted(self) -> set[ServingKey]:
        return set(wanted_keys(self._lanes))

    def _ready_keys(self) -> set[ServingKey]:
        return {key for key, entry in self._entries.items() if entry.phase is Phase.READY}

    def _reconcile(self) -> None:
        now = self._clock.monotonic()
        self._lives.end_overdue(now)
        while True:
            action = decide(self._snapshot(now))
            if action is None:
                return
            self._log.debug("action", kind=type(action).__name__, serving=str(action.key))
            self._apply(action)
            self._on_change()

    def _snapshot(self, now: float) -> PlanSnapshot:
        held = {key: entry.held for key, entry in self._entries.items()}
        return PlanSnapshot(
            now, self._lanes, held, self._folders.versions, self._settings.parallel_loads, self._stopping
        )

    def _apply(self, action: Action) -> None:
        match action:
            case Fetch(key=key, wanted=wanted, context=context):
                self._lives.fetch(key, wanted, context)
            case Load(key=key):
                self._lives.load(key)
            case Tell(key=key, context=context):
                self._lives.tell(key, context)
            case Drain(key=key):
                self._lives.drain(key)
            case Abandon(key=key):
                self._lives.abandon(key)
            case Forget(key=key):
                self._lives.forget(key)
            case Fail(key=key, code=code, message=message, retry_at=retry_at):
                self._lives.fail(key, code, message, retry_at)

    def _changed(self) -> None:
        self._wake.set()
        self._on_change()
