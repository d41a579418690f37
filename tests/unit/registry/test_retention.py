"""Forgetting: what stands in the way of one kind of things is in the way of no other."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from registry.offload import Offload
from registry.ports import UnitOfWork
from registry.service.retention import Forgotten, Kept, RetentionService
from registry.service.undisturbed import Undisturbed
from registry.upkeep import Upkeep
from services.common.errors import DeadlineExceededError, UnavailableError
from services.common.telemetry.logs import make_log
from tests.fakes.clock import ManualClock

DAY, YEARS = 86_400.0, 315_360_000.0
KEPT = Kept(events=400.0, analyses=90.0, requests=1.0, deliveries=400.0, route_changes=10_000)


class Old:
    """A database in which something old is left of everything, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bounds: dict[str, float] = {}

    def __getattr__(self, table: str) -> "Table":
        return Table(table, self.asked, self.bounds)


@dataclass
class Table:
    """A table of it."""

    name: str
    asked: list[str]
    bounds: dict[str, float]

    def purge(self, bound: float, *_: Any) -> int:
        """Forgets three rows."""
        self.asked.append(self.name)
        self.bounds[self.name] = bound
        return 3

    compact = purge

    def aged(self, bound: float, *_: Any) -> list[str]:
        """No model has many old events."""
        self.asked.append(self.name)
        self.bounds[self.name] = bound
        return []


@dataclass
class Works:
    """Its transactions are carried out."""

    tx: Old = field(default_factory=Old)

    def run(self, work: Callable[[Any], Any], **_: Any) -> Any:
        """Runs a transaction."""
        return work(self.tx)


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
    forgotten = RetentionService(cast("UnitOfWork", unit), clock, KEPT, clock).forget(deadline=clock.monotonic() + 20.0)
    assert unit.tx.asked == ["requests", "outbox", "looks", "ledger"]
    assert forgotten.failures == (error,)
    assert forgotten.deliveries == 3


@pytest.mark.parametrize(("what", "table"), [("deliveries", "outbox"), ("analyses", "looks"), ("events", "ledger")])
def test_what_is_kept_for_ever_is_not_looked_for(what: str, table: str) -> None:
    clock, unit = ManualClock(), Works()
    kept = replace(KEPT, **{what: 0})
    forgotten = RetentionService(cast("UnitOfWork", unit), clock, kept, clock).forget(deadline=clock.monotonic() + 20.0)
    assert unit.tx.asked == [one for one in ("routes", "requests", "outbox", "looks", "ledger") if one != table]
    assert forgotten.deliveries == (0 if what == "deliveries" else 3)


def test_each_kind_is_kept_for_as_long_as_is_said_of_it() -> None:
    clock, unit = ManualClock(), Works()
    kept = Kept(events=5.0, analyses=4.0, requests=3.0, deliveries=2.0, route_changes=1)
    RetentionService(cast("UnitOfWork", unit), clock, kept, clock).forget(deadline=clock.monotonic() + 20.0)
    days = {table: (clock.now() - bound) / 86_400.0 for table, bound in unit.tx.bounds.items() if table != "routes"}
    assert days == {"requests": 3.0, "outbox": 2.0, "looks": 4.0, "ledger": 5.0}
    assert unit.tx.bounds["routes"] == 1


@pytest.mark.parametrize(("database", "machine"), [(YEARS, 0.0), (0.0, YEARS), (YEARS, DAY)])
def test_what_is_old_by_one_clock_alone_is_kept(database: float, machine: float) -> None:
    told, own, unit = ManualClock(), ManualClock(), Works()
    told.set(database)
    own.set(machine)
    RetentionService(cast("UnitOfWork", unit), told, KEPT, own).forget(deadline=told.monotonic() + 20.0)
    days = {table: (ManualClock().now() - bound) / DAY for table, bound in unit.tx.bounds.items()}
    assert days["ledger"] == pytest.approx(400.0 - min(database, machine) / DAY)


def test_while_it_is_not_sure_what_time_it_is_nothing_goes_for_its_age() -> None:
    clock, unit = ManualClock(), Works()
    service = RetentionService(cast("UnitOfWork", unit), clock, KEPT, clock)
    assert service.forget(deadline=clock.monotonic() + 20.0, by_age=False) == Forgotten(0, ())
    assert unit.tx.asked == ["routes"]


@dataclass
class Asked:
    """A retention that notes what it was asked."""

    by_age: list[bool] = field(default_factory=list)

    def forget(self, *, deadline: float, by_age: bool) -> Forgotten:
        """Forgets nothing."""
        del deadline
        self.by_age.append(by_age)
        return Forgotten(0, ())


@pytest.mark.parametrize("moved", ["database", "machine", "both"])
@pytest.mark.parametrize("seconds", [YEARS, -YEARS, 3_600.0])
async def test_nothing_goes_for_its_age_until_the_clocks_have_gone_on_for_an_hour(moved: str, seconds: float) -> None:
    told, own, retention, offload = ManualClock(), ManualClock(), Asked(), Offload(cast("UnitOfWork", None), 1, "test")
    none: Any = None
    watched, log = Undisturbed((told, own)), make_log("test", "critical")
    upkeep = Upkeep(none, none, cast("Any", retention), watched, offload, told, log, none, sweep_seconds=1.0)

    async def rounds(minutes: int) -> list[bool]:
        retention.by_age.clear()
        for _ in range(minutes):
            await upkeep.forget()
            told.advance(60.0)
            own.advance(60.0)
        return list(retention.by_age)

    async def set_clocks(by: float) -> None:
        for name, clock in (("database", told), ("machine", own)):
            if moved in (name, "both"):
                clock.set(by)

    # As it starts, nobody knows.
    assert await rounds(62) == [False] * 60 + [True] * 2
    await set_clocks(seconds)
    assert await rounds(30) == [False] * 30
    await set_clocks(-seconds)
    assert await rounds(62) == [False] * 60 + [True] * 2
    offload.close()
