"""The unit of work: nothing after its caller was told that it was not, and what is told after the last attempt."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy import Engine

from registry.database.unit_of_work import ATTEMPTS, SqlUnitOfWork
from services.common.errors import AbortedError, DeadlineExceededError, FailedPreconditionError, UnavailableError
from tests.fakes.clock import ManualClock
from tests.support.cockroach import Uncategorized


class Opened:
    """An engine that nobody should reach."""

    def __init__(self) -> None:
        self.connections = 0

    @contextmanager
    def connect(self) -> Iterator[Any]:
        self.connections += 1
        raise AssertionError("connected after the deadline")
        yield


def test_a_turn_that_comes_after_the_deadline_carries_nothing_out() -> None:
    clock, engine = ManualClock(), Opened()
    unit = SqlUnitOfWork(cast("Engine", engine), clock, lambda revision: None, lambda *told: None)
    entered = threading.Event()

    class Late:
        """A turn that takes longer than the caller waits."""

        def acquire(self, timeout: float) -> bool:
            assert timeout <= 0.25
            entered.set()
            clock.advance(1.0)
            return True

        def release(self) -> None:
            pass

    unit._turn = cast("threading.Lock", Late())
    with pytest.raises(DeadlineExceededError):
        unit.run(lambda transaction: None, deadline=clock.monotonic() + 0.25, exclusive=True)
    assert entered.is_set()
    assert engine.connections == 0


class Taken(pg.UniqueViolation):
    """A key that was taken."""

    def __init__(self, constraint: str, detail: str) -> None:
        super().__init__(detail)
        self._said = SimpleNamespace(constraint_name=constraint, message_detail=detail)

    @property
    def diag(self) -> Any:
        return self._said


class Failing:
    """An engine whose transactions fail, one way after the other."""

    def __init__(self, failures: Iterable[psycopg.Error]) -> None:
        self._failures = iter(failures)
        self.connections = 0

    @contextmanager
    def connect(self) -> Iterator[Any]:
        self.connections += 1
        raise next(self._failures)
        yield


def event_taken(sequence: int) -> Taken:
    return Taken("events_pk", f"Key (model, sequence)=(m, {sequence}) already exists.")


def run(
    failures: Iterable[psycopg.Error], on_riddle: Callable[[str], None] = lambda said: None, attempts: int = ATTEMPTS
) -> None:
    """Runs a transaction that fails in these ways, in so many attempts."""
    clock, engine = ManualClock(), Failing(failures)
    unit = SqlUnitOfWork(
        cast("Engine", engine), clock, lambda revision: None, on_riddle=on_riddle, sleep=lambda seconds: None
    )
    try:
        unit.run(lambda transaction: None, deadline=clock.monotonic() + 10.0)
    finally:
        assert engine.connections == attempts


def test_what_the_database_has_no_code_for_is_tried_again_and_told() -> None:
    told: list[str] = []
    with pytest.raises(UnavailableError) as caught:
        run(itertools.repeat(Uncategorized("transport is closing")), told.append)
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    assert told == ["transport is closing"]
    with pytest.raises(UnavailableError):
        run(itertools.repeat(pg.AdminShutdown()), told.append)
    assert len(told) == 1


def test_an_event_that_stands_in_the_way_for_good_is_told_from_contention() -> None:
    with pytest.raises(FailedPreconditionError, match=r"\(m, 7\) already exists.*events verify MODEL") as caught:
        run((event_taken(number) for number in itertools.chain((5, 5, 6), itertools.repeat(7))), attempts=6)
    assert caught.value.reason == "LEDGER_BROKEN"


@pytest.mark.parametrize(
    "failures",
    [
        (event_taken(sequence) for sequence in itertools.count(7)),
        itertools.cycle((event_taken(7), pg.SerializationFailure())),
        itertools.repeat(Taken("versions_pk", "Key (model, version)=(m, v7) already exists.")),
    ],
)
def test_those_who_write_first_are_contention(failures: Iterable[psycopg.Error]) -> None:
    with pytest.raises(AbortedError) as caught:
        run(failures)
    assert caught.value.reason == "CONTENTION"


def test_a_row_that_was_in_the_way_each_time_is_named() -> None:
    there = Taken("route_changes_pk", "Key (revision, model, segment)=(17, m, ) already exists.")
    with pytest.raises(AbortedError, match=r"one row was there already \(route_changes_pk: Key .*\(17, m, \)"):
        run(itertools.repeat(there))
    for others in (itertools.cycle((there, pg.SerializationFailure())), itertools.repeat(pg.SerializationFailure())):
        with pytest.raises(AbortedError, match=r"and try again$"):
            run(others)
