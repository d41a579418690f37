"""Keeps what runs as it is wanted: a thin loop around `plan.decide` that carries its actions out."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from services.common.clock import Clock
from services.common.telemetry.store import Snapshot
from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.folders import Folders
from services.worker.credentials import read_credentials
from services.worker.domain import (
    FailureCode,
    Lane,
    LoadError,
    LoadReport,
    ServingKey,
    WantedVersion,
)
from services.worker.pipes import messages
from services.worker.process_config import ChildConfig
from services.worker.settings import WorkerSettings
from services.worker.supervisor.cores import share
from services.worker.supervisor.entries import Entry, Serving, serving_of
from services.worker.supervisor.meters import Meters
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
from services.worker.supervisor.totals import Totals

RETRY_SECONDS: Final = 30.0
"""When a version is tried again whose artifact could not be had, or which could not be loaded and has been before."""
UNANSWERED_POLLS: Final = 10
"""A process that leaves so many in a row unanswered has crashed; each is waited for, for a second."""
_TICK_SECONDS: Final = 0.5
_COUNT_SECONDS: Final = 1.0
_KILL_MARGIN_SECONDS: Final = 5.0


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
        self._instance_id = instance_id
        self._clock = clock
        self._log = log
        self._forks = forks
        self._ports = ports
        self._on_change = on_change
        self._lanes: tuple[Lane, ...] = ()
        self._entries: dict[ServingKey, Entry] = {}
        self._folders = Folders(cache, settings.fetch_seconds)
        self._totals = Totals()
        self._meters = Meters()
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

    async def counts(self) -> list[Snapshot]:
        """Every series of every process at this moment, added up with those of processes that have ended."""
        await asyncio.gather(*(self._poll(key, entry) for key, entry in list(self._entries.items())))
        return [*self._totals.sum(), *self._meters.snapshot(self._wanted(), self._ready_keys())]

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
                self._totals.prune(self._entries, self._lanes, now)
                self._ports.prune(self._entries, now)

    def stop(self) -> None:
        """Drains everything; `run` returns when all has ended."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Ends at once whatever still runs."""
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
            if entry.process is not None:
                entry.process.kill()
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
            self._totals.update(key, counts)

    def _wanted(self) -> set[ServingKey]:
        return set(wanted_keys(self._lanes))

    def _ready_keys(self) -> set[ServingKey]:
        return {key for key, entry in self._entries.items() if entry.phase is Phase.READY}

    def _reconcile(self) -> None:
        now = self._clock.monotonic()
        for entry in self._entries.values():
            if entry.process is not None and now >= entry.overdue_at:
                self._overdue(entry)
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

    def _overdue(self, entry: Entry) -> None:
        if entry.phase is Phase.LOADING:
            entry.code = FailureCode.LOAD_FAILED
            entry.error = f"it was not ready within {self._settings.load_seconds:g} s"
        if entry.process is not None:
            entry.process.kill()

    def _apply(self, action: Action) -> None:
        key = action.key
        match action:
            case Fetch() | Load():
                self._begin(action)
            case Tell(context=context):
                entry = self._entries[key]
                entry.told = context
                self._tell(key, entry)
            case Drain():
                entry = self._entries[key]
                entry.phase = Phase.DRAINING
                limit, quiet = self._settings.drain_seconds, self._settings.quiet_seconds
                # Until it takes no more, for those who come all the same, and for what is under way at the end.
                entry.overdue_at = self._clock.monotonic() + limit + quiet + limit + _KILL_MARGIN_SECONDS
                if entry.process is not None:
                    entry.process.link.send(messages.Drain(quiet, limit))
            case Abandon():
                entry = self._entries[key]
                entry.phase = Phase.DRAINING
                if entry.process is not None:
                    entry.process.kill()
                elif entry.task is not None:
                    entry.task.cancel()
            case Forget():
                self._drop(key, self._entries[key])
            case Fail(code=code, message=message, retry_at=retry_at):
                entry = self._entries[key]
                self._fail(key, entry, code, entry.explained(message), retry_at)

    def _begin(self, action: Fetch | Load) -> None:
        key, loop = action.key, asyncio.get_running_loop()
        before = self._entries.get(key)
        if isinstance(action, Fetch):
            crashes = before.crashes if before else ()
            self._meters.begun(key)
            entry = self._entries[key] = Entry(action.wanted.artifact.digest, action.context, crashes=crashes)
            entry.last_words = before.last_words if before else ""
            entry.task = loop.create_task(self._bring(key, entry, action.wanted))
        elif before is not None:
            before.phase = Phase.LOADING
            before.task = loop.create_task(self._live(key, before))

    def _tell(self, key: ServingKey, entry: Entry) -> None:
        if entry.process is not None:
            found = (self._folders.of(key.model, version) for version in entry.told.profiles)
            folders = [str(folder) for folder in found if folder is not None]
            entry.process.link.send(messages.Tell(entry.told, tuple(folders)))

    async def _bring(self, key: ServingKey, entry: Entry, wanted: WantedVersion) -> None:
        """Fetches the artifact."""
        try:
            entry.folder = await self._folders.fetch(key, wanted)
            self._wake.set()
        except LoadError as error:
            if error.transient:
                self._postpone(key, entry, str(error))
            else:
                self._fail(key, entry, error.code, str(error))
        except OSError as error:
            self._postpone(key, entry, f"its artifact cannot be stored: {error}")
        except asyncio.CancelledError:
            self._remove(key, entry)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the version must not hang unsaid
            self._log.error("fetch failed", serving=str(key), exc_info=error)
            self._postpone(key, entry, f"its artifact cannot be fetched: {error!r}")
        else:
            if entry.phase is Phase.DRAINING:
                self._remove(key, entry)
                return
            entry.phase = Phase.FETCHED
            self._changed()

    async def _live(self, key: ServingKey, entry: Entry) -> None:
        """One process from its start to its end."""
        assert entry.folder is not None  # noqa: S101 - for the type checker: only what was fetched is loaded
        try:
            taken = (other.cores for other in self._entries.values() if other is not entry)
            entry.cores = share(taken, os.sched_getaffinity(0), self._settings.version_cores)
            config = self._config(key, entry.folder, entry.cores)
            process = await self._forks.start(config)
        except asyncio.CancelledError:
            self._remove(key, entry)
            raise
        except ValueError as error:
            self._postpone(key, entry, f"its process cannot be started: {error}")
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the version must not hang unsaid
            self._postpone(key, entry, f"its process cannot be started: {error!r}")
            return
        entry.process = process
        if entry.phase is Phase.DRAINING:
            process.kill()
        else:
            entry.overdue_at = self._clock.monotonic() + self._settings.load_seconds
        self._tell(key, entry)
        last_words = ""
        async for message, _ in process.link.reports():
            match message:
                case messages.Ready(report):
                    self._ready(key, entry, report)
                case messages.Failed(code, text):
                    entry.code, entry.error = code, text
                case messages.Crashing(text):
                    last_words = text
        if process.link.last_counts is not None:
            self._totals.update(key, process.link.last_counts)
        exit_code = await process.exit_code()
        entry.process, entry.cores = None, frozenset()
        self._totals.ended(key)
        self._ended(key, entry, exit_code, last_words or entry.silence)

    def _config(self, key: ServingKey, folder: Path, cores: frozenset[int]) -> ChildConfig:
        """What the process of `key` is started with.

        Raises:
            ValueError: a file of keys is not one, as while it is exchanged.
            OSError: no port is free.
        """
        return ChildConfig(
            key=key,
            folder=folder,
            address=self._ports.listen_address(key),
            settings=self._settings,
            instance_id=self._instance_id,
            ordered_at=self._clock.monotonic(),
            credentials=read_credentials(self._settings),
            cores=cores,
        )

    def _ready(self, key: ServingKey, entry: Entry, report: LoadReport) -> None:
        entry.report = report
        if entry.phase is Phase.LOADING:
            entry.phase = Phase.READY
            entry.overdue_at = float("inf")
        self._log.info("ready", serving=str(key), seconds=report.load_seconds, precision=report.precision)
        self._changed()

    def _ended(self, key: ServingKey, entry: Entry, exit_code: int | None, last_words: str) -> None:
        if entry.phase is Phase.DRAINING:
            self._remove(key, entry)
        elif entry.code:
            self._fail(key, entry, FailureCode(entry.code), entry.error)
        else:
            entry.phase = Phase.CRASHED
            self._meters.crashed(key)
            entry.crashes = (*entry.crashes, self._clock.monotonic())[-10:]
            entry.last_words = last_words
            self._log.error("process crashed", serving=str(key), exit_code=exit_code, reason=last_words)
            self._changed()

    def _fail(
        self, key: ServingKey, entry: Entry, code: FailureCode, message: str, retry_at: float | None = None
    ) -> None:
        if entry.phase is Phase.DRAINING:
            self._remove(key, entry)
            return
        entry.phase = Phase.FAILED
        self._meters.failed(key)
        entry.code, entry.error = code, message
        entry.retry_at = self._clock.monotonic() + RETRY_SECONDS if retry_at is None else retry_at
        self._log.error("version failed", serving=str(key), code=code, reason=message)
        self._changed()

    def _postpone(self, key: ServingKey, entry: Entry, message: str) -> None:
        """What may go better later is no failure of the version."""
        if entry.phase is Phase.DRAINING:
            self._remove(key, entry)
            return
        entry.phase = Phase.WAITING
        entry.error, entry.retry_at = message, self._clock.monotonic() + RETRY_SECONDS
        self._log.warning("version not there yet", serving=str(key), reason=message, retry_seconds=RETRY_SECONDS)
        self._changed()

    def _remove(self, key: ServingKey, entry: Entry) -> None:
        self._drop(key, entry)
        self._log.info("ended", serving=str(key))
        self._changed()

    def _drop(self, key: ServingKey, entry: Entry) -> None:
        """Forgets it, and lets its artifact go unless it is held for other traffic."""
        if self._entries.get(key) is entry:
            del self._entries[key]
        if not any((other.model, other.version) == (key.model, key.version) for other in self._entries):
            self._folders.forget(key.model, key.version)

    def _changed(self) -> None:
        self._wake.set()
        self._on_change()
