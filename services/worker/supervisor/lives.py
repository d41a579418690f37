"""What becomes of each version and kind of traffic: fetched, loaded, ready, and how it ends."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from services.common.clock import Clock
from services.worker.artifacts.folders import Folders
from services.worker.credentials import read_credentials
from services.worker.domain import Context, FailureCode, LoadError, LoadReport, ServingKey, WantedVersion
from services.worker.pipes import messages
from services.worker.process_config import ChildConfig
from services.worker.settings import WorkerSettings
from services.worker.supervisor.cores import pins, share
from services.worker.supervisor.entries import Entry, ending_of, reason_of
from services.worker.supervisor.meters import Meters
from services.worker.supervisor.plan import Phase
from services.worker.supervisor.ports import Ports
from services.worker.supervisor.process import ForkServer
from services.worker.supervisor.totals import Totals

RETRY_SECONDS: Final = 30.0
"""When a version is tried again whose artifact could not be had, or which could not be loaded and has been before."""
_KILL_MARGIN_SECONDS: Final = 5.0


class Lives:
    """Carries out what is decided of versions, each on a task of its own, and notes what comes of it.

    Args:
        settings: the Worker's.
        instance_id: the Worker's.
        clock: for crashes, limits and retries.
        log: the Worker's.
        folders: fetches artifacts.
        forks: starts processes.
        ports: gives each version and kind of traffic its address.
        on_change: called whenever something has come of one.

    Attributes:
        entries: what is held.
        totals: what all processes have counted.
        meters: what is counted of themselves.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        instance_id: str,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        folders: Folders,
        forks: ForkServer,
        ports: Ports,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._instance_id = instance_id
        self._clock = clock
        self._log = log
        self._folders = folders
        self._forks = forks
        self._ports = ports
        self._changed = on_change
        self.entries: dict[ServingKey, Entry] = {}
        self.totals = Totals()
        self.meters = Meters()

    def fetch(self, key: ServingKey, wanted: WantedVersion, context: Context) -> None:
        """Begins with a version, perhaps anew after a crash."""
        before = self.entries.get(key)
        crashes = before.crashes if before else ()
        self.meters.begun(key)
        entry = self.entries[key] = Entry(wanted.artifact.digest, context, crashes=crashes)
        entry.last_words = before.last_words if before else ""
        entry.task = asyncio.get_running_loop().create_task(self._bring(key, entry, wanted))

    def load(self, key: ServingKey) -> None:
        """Starts the process of one that is fetched."""
        entry = self.entries[key]
        entry.phase = Phase.LOADING
        entry.task = asyncio.get_running_loop().create_task(self._live(key, entry))

    def tell(self, key: ServingKey, context: Context) -> None:
        """Tells a process what it is to know of its lanes."""
        entry = self.entries[key]
        entry.told = context
        self._tell(key, entry)

    def drain(self, key: ServingKey) -> None:
        """Has a process end when nobody calls it any more."""
        entry = self.entries[key]
        entry.phase = Phase.DRAINING
        limit, quiet = self._settings.drain_seconds, self._settings.quiet_seconds
        # Until it takes no more, for those who come all the same, and for what is under way at the end.
        entry.overdue_at = self._clock.monotonic() + limit + quiet + limit + _KILL_MARGIN_SECONDS
        if entry.process is not None:
            entry.process.link.send(messages.Drain(quiet, limit))

    def abandon(self, key: ServingKey) -> None:
        """Ends what serves nobody yet."""
        entry = self.entries[key]
        entry.phase = Phase.DRAINING
        if entry.process is not None:
            entry.process.kill()
        elif entry.task is not None:
            entry.task.cancel()

    def forget(self, key: ServingKey) -> None:
        """Forgets one that has ended."""
        self._drop(key, self.entries[key])

    def fail(self, key: ServingKey, code: FailureCode, message: str, retry_at: float | None) -> None:
        """Gives one up whose processes have crashed too often."""
        entry = self.entries[key]
        self._fail(key, entry, code, entry.explained(message), retry_at)

    def end_overdue(self, now: float) -> None:
        """Kills the processes that should have come further by now."""
        for entry in self.entries.values():
            if entry.process is not None and now >= entry.overdue_at:
                if entry.phase is Phase.LOADING:
                    entry.code = FailureCode.LOAD_FAILED
                    entry.error = (
                        f"it was not ready within {self._settings.load_seconds:g} s; CROSSFADE_LOAD_SECONDS allows more"
                    )
                entry.process.kill()

    def end_all(self) -> None:
        """Ends at once whatever still runs."""
        for entry in self.entries.values():
            if entry.task is not None:
                entry.task.cancel()
            if entry.process is not None:
                entry.process.kill()

    def _tell(self, key: ServingKey, entry: Entry) -> None:
        if entry.process is not None:
            found = (self._folders.of(key.model, version) for version in entry.told.profiles)
            folders = [str(folder) for folder in found if folder is not None]
            entry.process.link.send(messages.Tell(entry.told, tuple(folders)))

    async def _bring(self, key: ServingKey, entry: Entry, wanted: WantedVersion) -> None:
        """Fetches the artifact."""
        try:
            entry.folder = await self._folders.fetch(key, wanted)
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
            self._place(entry)
            config = self._config(key, entry.folder, entry)
            process = await self._forks.start(config)
        except asyncio.CancelledError:
            self._remove(key, entry)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the version must not hang unsaid
            self._postpone(key, entry, f"its process cannot be started: {reason_of(error)}")
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
            self.totals.update(key, process.link.last_counts)
        exit_code = await process.exit_code()
        entry.process, entry.cores, entry.pinned = None, frozenset(), ()
        self.totals.ended(key)
        self._ended(key, entry, exit_code, last_words or entry.silence)

    def _place(self, entry: Entry) -> None:
        """Chooses the processors of the process that `entry` is about to have."""
        settings = self._settings
        others = [other for other in self.entries.values() if other is not entry]
        entry.cores = share([other.cores for other in others], os.sched_getaffinity(0), settings.version_cores)
        pinned = [other.pinned for other in others]
        entry.pinned = pins(pinned, entry.cores, settings.front_ends, settings.pin_front_ends)

    def _config(self, key: ServingKey, folder: Path, entry: Entry) -> ChildConfig:
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
            cores=entry.cores,
            pinned=entry.pinned,
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
            self.meters.crashed(key)
            entry.crashes = (*entry.crashes, self._clock.monotonic())[-10:]
            entry.last_words = last_words or ending_of(exit_code)
            self._log.error("process crashed", serving=str(key), exit_code=exit_code, reason=entry.last_words)
            self._changed()

    def _fail(
        self, key: ServingKey, entry: Entry, code: FailureCode, message: str, retry_at: float | None = None
    ) -> None:
        if entry.phase is Phase.DRAINING:
            self._remove(key, entry)
            return
        entry.phase = Phase.FAILED
        self.meters.failed(key)
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
        if self.entries.get(key) is entry:
            del self.entries[key]
        if not any((other.model, other.version) == (key.model, key.version) for other in self.entries):
            self._folders.forget(key.model, key.version)
