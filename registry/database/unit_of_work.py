"""Runs transactions: SERIALIZABLE, each one retried as a whole, inside the caller's time."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeVar

from sqlalchemy.engine import Engine

from registry.database.engine import refuse_standby
from registry.database.failures import (
    DATABASE_ERRORS,
    DISK_FULL,
    NO_CHANGES,
    NO_RIGHTS,
    NO_TABLES,
    UNCATEGORIZED,
    Failure,
    classify,
    sqlstate,
    taken,
)
from registry.database.tables import events
from registry.database.transaction import SqlTransaction
from registry.domain.webhooks import Webhook
from registry.ports import Transaction
from services.common.clock import Clock
from services.common.errors import (
    AbortedError,
    CrossfadeError,
    DeadlineExceededError,
    FailedPreconditionError,
    UnavailableError,
)

T = TypeVar("T")

ATTEMPTS: Final = 8
_FIRST_SECONDS: Final = 0.02
_LONGEST_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 1.0
"""How long a writer waits for the one before it."""
_SAME_EVENT: Final = 3
"""Attempts in a row that find one event in their way: who writes first has committed it, with the model's next number,
before the next attempt reads."""


def backoff(attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds before the next attempt: full jitter, its bound growing from 20 ms to 1 s.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return uniform(0.0, min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0**attempt))


class SqlUnitOfWork:
    """Runs `work` in a transaction, and again from its start when it could not be serialized.

    A transaction whose connection broke is run again too. At COMMIT its outcome is unknown then; every `work` that
    changes anything ends by storing its answer under a unique key (`registry.service.requests`) or is idempotent.

    Args:
        engine: with isolation SERIALIZABLE.
        clock: measures the caller's time.
        on_revision: called after a commit that changed the routes, with their new revision.
        on_end: called after each transaction, with how it ended (ok, or the reason), its seconds and its attempts.
        on_riddle: called where the database went on failing without a code for why, with what it said.
        webhooks: who is told of what transactions write.
        sleep: waits between attempts.
        uniform: draws the waiting time.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        on_revision: Callable[[int], None],
        on_end: Callable[[str, float, int], None] = lambda _outcome, _seconds, _attempts: None,
        on_riddle: Callable[[str], None] = lambda _said: None,
        webhooks: Sequence[Webhook] = (),
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._on_revision = on_revision
        self._on_end = on_end
        self._webhooks = webhooks
        self._sleep = sleep
        self._uniform = uniform
        self._on_riddle = on_riddle
        # Writers of one process take turns, for all of them write route_clock and only one could succeed. It is no
        # part of correctness: other processes do not know of it, and nobody waits for it longer than a moment.
        self._turn = threading.Lock()

    def run(
        self,
        work: Callable[[Transaction], T],
        *,
        deadline: float,
        exclusive: bool = False,
        read_only: bool = False,
    ) -> T:
        """What `work` answers, committed.

        Args:
            work: reads and writes; no effects outside the database, since it may run several times.
            deadline: on the clock's monotonic scale.
            exclusive: it changes lanes, so it takes its turn.
            read_only: it writes nothing, so that it conflicts with hardly anything.

        Raises:
            AbortedError: CONTENTION after 8 attempts.
            FailedPreconditionError: LEDGER_BROKEN after 3 of them, an event was put in beside the Registry.
            UnavailableError: DATABASE_UNAVAILABLE.
            DeadlineExceededError: the caller's time is over.
        """
        return self._run(work, deadline, _Access.READ if read_only else _Access.WRITE, exclusive=exclusive)

    def ask(self, question: Callable[[Transaction], T], *, deadline: float) -> T:
        """What one statement answers, by itself: without the ways that a transaction's beginning and end take.

        Args:
            question: reads once.
            deadline: on the clock's monotonic scale.

        Raises:
            AbortedError: CONTENTION after 8 attempts.
            UnavailableError: DATABASE_UNAVAILABLE.
            DeadlineExceededError: the caller's time is over.
        """
        return self._run(question, deadline, _Access.ASK)

    def _run(
        self, work: Callable[[Transaction], T], deadline: float, access: "_Access", *, exclusive: bool = False
    ) -> T:
        story = _Story(self._clock.monotonic())
        try:
            result = self._attempts(work, deadline, story, access, exclusive=exclusive)
            story.outcome = "ok"
            return result
        except CrossfadeError as error:
            story.outcome = error.reason
            raise
        finally:
            self._on_end(story.outcome, self._clock.monotonic() - story.started, story.attempts)

    def _attempts(
        self,
        work: Callable[[Transaction], T],
        deadline: float,
        story: "_Story",
        access: "_Access",
        *,
        exclusive: bool,
    ) -> T:
        failure = Failure.RETRY
        cause: Exception | None = None
        keys: list[str] = []
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = backoff(attempt - 1, self._uniform)
                self._sleep(max(0.0, min(pause, deadline - self._clock.monotonic())))
            # For each attempt anew, so that nobody waits for one that pauses.
            left = max(0.0, deadline - self._clock.monotonic())
            my_turn = exclusive and self._turn.acquire(timeout=min(_TURN_SECONDS, left))
            try:
                # After the turn has come: nothing is carried out whose caller has been told that it was not.
                self._check_time(deadline)
                story.attempts += 1
                return self._once(work, access)
            except DATABASE_ERRORS as error:
                failure, cause = classify(error), error
                if failure is Failure.DEFECT:
                    raise
                if failure is Failure.UNAVAILABLE:
                    raise _unavailable(sqlstate(error)) from error
                keys.append(taken(error))
                _check_ledger(keys)
            finally:
                if my_turn:
                    self._turn.release()
        if failure is Failure.LOST:
            if sqlstate(cause) == UNCATEGORIZED:
                self._on_riddle(str(cause))
            raise _unavailable(sqlstate(cause)) from cause
        raise AbortedError(
            "CONTENTION",
            f"{ATTEMPTS} attempts lost to concurrent changes; read the state and try again{_in_the_way(keys)}",
            attempts=str(ATTEMPTS),
        )

    def _check_time(self, deadline: float) -> None:
        if self._clock.monotonic() >= deadline:
            raise DeadlineExceededError(
                "DEADLINE_EXCEEDED",
                "the call's time was over before the database had answered; read the state, or repeat with the "
                "same request_id and a longer deadline",
            )

    def _once(self, work: Callable[[Transaction], T], access: "_Access") -> T:
        with self._engine.connect() as connection:
            if access is _Access.ASK:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                refuse_standby(connection)
                return work(SqlTransaction(connection, self._webhooks))
            if access is _Access.READ:
                connection.execution_options(postgresql_readonly=True)
            with connection.begin():
                transaction = SqlTransaction(connection, self._webhooks)
                result = work(transaction)
                transaction.flush()
            revision = transaction.routes.written
        if revision:
            self._on_revision(revision)
        return result


class _Access(Enum):
    """What is done: one statement alone, a transaction that only reads, or one that writes."""

    ASK = auto()
    READ = auto()
    WRITE = auto()


@dataclass(slots=True)
class _Story:
    """How a transaction went: when it began, how often it was tried, and how it ended."""

    started: float
    attempts: int = 0
    outcome: str = "DEFECT"


def _check_ledger(keys: Sequence[str]) -> None:
    """Tells an event that nobody can write from one that others wrote first: those have another number each time.

    Args:
        keys: that were taken, attempt by attempt.

    Raises:
        FailedPreconditionError: LEDGER_BROKEN.
    """
    key = _same(keys[-_SAME_EVENT:]) if len(keys) >= _SAME_EVENT else ""
    if key.startswith(f"{events.primary_key.name}: "):
        raise FailedPreconditionError(
            "LEDGER_BROKEN",
            "a model's next event cannot be written, for the table events has one in its place that no Registry "
            f"wrote ({key}). `crossfade events verify MODEL` says what is wrong with the ledger; nothing of "
            "this model can be changed until that event is taken out of the database",
        )


def _in_the_way(keys: Sequence[str]) -> str:
    """What to do about a row that was there at each attempt; empty: there was none.

    Args:
        keys: that were taken, attempt by attempt.
    """
    key = _same(keys)
    if not key:
        return ""
    return (
        f". Each time one row was there already ({key}): if that is so again, it stands where a Registry is to write. "
        "If it was put in by hand, take it out of the database; if a table was put back by itself, it may be the one "
        "that is right: put back all tables as they were at one moment"
    )


def _same(keys: Sequence[str]) -> str:
    """The key that was taken each time; empty: not always one, or not always the same."""
    return keys[0] if len(set(keys)) == 1 else ""


def _unavailable(state: str | None = None) -> UnavailableError:
    what = "does not answer"
    if state == DISK_FULL:
        what = "has no room left: make some, and go on"
    elif state in NO_CHANGES:
        what = "takes no changes: it is a standby or was made read-only, and its operator is to look at that"
    elif state in NO_TABLES:
        what = "has no tables of a Registry: its operator puts it back, or is to run `crossfade registry migrate`"
    elif state == NO_RIGHTS:
        what = "does not let the Registry's user read and write its tables: its operator is to grant that again"
    return UnavailableError(
        "DATABASE_UNAVAILABLE",
        f"the Registry's database {what}. Repeat the call with the same request_id: if it was carried out "
        "after all, you get its answer",
    )
