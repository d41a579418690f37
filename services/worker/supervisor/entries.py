"""What the supervisor holds of each version and kind of traffic, and what it reports of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.common.descriptors import MORE_DESCRIPTORS, OUT_OF_DESCRIPTORS
from services.worker.domain import Context, FailureCode, LoadReport, ServingKey
from services.worker.pipes.forks import ending
from services.worker.supervisor.plan import CRASH_LIMIT, Held, Phase, crash_message, recent_crashes
from services.worker.supervisor.process import VersionProcess

_UNKNOWN: Final = 255
"""What multiprocessing takes for the exit code of a process whose fork server has ended."""


@dataclass(slots=True, eq=False)
class Entry:
    """One held version and kind of traffic.

    Attributes:
        digest: the artifact's.
        told: the context that its process has, or will have when it starts.
        phase: where it is.
        crashes: when its processes crashed, by the monotonic clock, oldest first.
        last_words: why the latest crash came, if that is known.
        retry_at: when it is tried again, if it is.
        code: why it failed; empty: it has not.
        error: what went wrong last, as a sentence.
        report: what was measured before it was ready.
        folder: the fetched artifact.
        process: while one runs.
        task: brings the artifact, or follows the process.
        silence: that its process left too many polls unanswered, as the end of a sentence; empty: it has not.
        cores: the processors that its processes run on.
        pinned: the one that each front-end stays on; empty: they move.
        overdue_at: when the process is killed unless it has come further.
    """

    digest: str
    told: Context
    phase: Phase = Phase.FETCHING
    crashes: tuple[float, ...] = ()
    last_words: str = ""
    retry_at: float | None = None
    code: str = ""
    error: str = ""
    report: LoadReport | None = None
    folder: Path | None = None
    process: VersionProcess | None = None
    task: "asyncio.Task[None] | None" = None
    silence: str = ""
    cores: frozenset[int] = frozenset()
    pinned: tuple[int, ...] = ()
    overdue_at: float = field(default=float("inf"))

    @property
    def held(self) -> Held:
        """What decisions rest on."""
        return Held(self.digest, self.phase, self.told, self.crashes, self.retry_at)

    def explained(self, crashed: str) -> str:
        """What is said of its crashes, with the reason of the latest."""
        return f"{crashed}; the last time {self.last_words}" if self.last_words else crashed


@dataclass(frozen=True, slots=True)
class Serving:
    """What is reported of one version and kind of traffic; `address` is empty until it serves."""

    key: ServingKey
    phase: Phase
    address: str
    code: str
    error: str
    report: LoadReport | None


def serving_of(key: ServingKey, entry: Entry, address_of: Callable[[ServingKey], str], now: float) -> Serving:
    """What is reported of an entry.

    A version that is started again although it crashed often (the stable one) says so, whatever its phase: a test
    version that crashes beside it is not to blame.

    Args:
        key: what it is.
        entry: as it is held.
        address_of: where it serves; asked if it does.
        now: seconds of the monotonic clock.
    """
    code, error = entry.code, entry.error
    crashes = recent_crashes(entry.crashes, now)
    if not code and len(crashes) >= CRASH_LIMIT:
        code, error = FailureCode.CRASHED, entry.explained(crash_message(crashes))
    serves = entry.phase in (Phase.READY, Phase.DRAINING)
    return Serving(key, entry.phase, address_of(key) if serves else "", code, error, entry.report)


def reason_of(error: Exception) -> str:
    """Why a process could not be started, for who has to do something about it."""
    match error:
        case OSError(errno=number) if number in OUT_OF_DESCRIPTORS:
            return f"{error.strerror}: {MORE_DESCRIPTORS}"
        case OSError():
            return error.strerror or str(error)
        case EOFError():
            return "the process that forks it has ended, and another one is begun"
        case ValueError():
            return str(error)
        case _:
            return repr(error)


def ending_of(exit_code: int | None) -> str:
    """How the first front-end ended that said nothing of it, as a program does that ends the process that runs it."""
    return "" if exit_code in (None, _UNKNOWN) else f"its first front-end {ending(exit_code)}"
