"""Forgetting: what stands in the way of one kind of things is in the way of no other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from registry.ports import UnitOfWork
from registry.service.retention import Kept, RetentionService
from services.common.errors import DeadlineExceededError, UnavailableError
from tests.fakes.clock import ManualClock

KEPT = Kept(events=400.0, analyses=90.0, requests=1.0, deliveries=400.0, route_changes=10_000)


class Old:
    """A database in which something old is left of everything, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, table: str) -> "Table":
        return Table(table, self.asked)


@dataclass
class Table:
    """A table of it."""

    name: str
    asked: list[str]

    def purge(self, *_: Any) -> int:
        """Forgets three rows."""
        self.asked.append(self.name)
        return 3

    compact = purge

    def aged(self, *_: Any) -> list[str]:
        """No model has many old events."""
        self.asked.append(self.name)
        return []


@dataclass
class FirstFails:
    """Its first transaction takes all the time that it has, and fails."""

    clock: ManualClock
    error: Exception
    tx: Old = field(default_factory=Old)
    failed: bool = False

    def run(self, work: Callable[[Any], Any], *, deadline: float, **_: Any) -> Any:
        """Runs a transaction."""
        if self.clock.monotonic() >= deadline:
            raise DeadlineExceededError("DEADLINE_EXCEEDED", "late")
        if not self.failed:
            self.failed = True
            self.clock.advance(deadline - self.clock.monotonic())
            raise self.error
        return work(self.tx)


@pytest.mark.parametrize(
    "error", [UnavailableError("DATABASE_UNAVAILABLE", "away"), RuntimeError("a defect")], ids=["away", "defect"]
)
def test_a_kind_that_cannot_be_forgotten_keeps_no_other(error: Exception) -> None:
    clock = ManualClock()
    unit = FirstFails(clock, error)
    forgotten = RetentionService(cast("UnitOfWork", unit), clock, KEPT).forget(deadline=clock.monotonic() + 20.0)
    assert unit.tx.asked == ["routes", "outbox", "looks", "ledger"]
    assert forgotten.failures == (error,)
    assert forgotten.deliveries == 3
