"""Sweeping: what was read of a lease may not be so any more when its turn comes."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from registry.domain.serving import Instance, InstanceKind, Lease
from registry.ports import UnitOfWork
from registry.service.instances import InstanceService
from tests.fakes.clock import ManualClock

TTL = 15.0


class Database:
    """Instances that serve nothing; a transaction by itself, and its own tables.

    Attributes:
        known: the instances by id.
        meanwhile: happens once, when the leases have been read.
        taken: ids of those whose readiness was settled.
        damaged: ids of those that cannot be removed.
    """

    def __init__(self) -> None:
        self.known: dict[str, Instance] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        self.taken: list[str] = []
        self.damaged: set[str] = set()

    def __getattr__(self, table: str) -> "Database":
        assert table in {"fleet", "lanes", "routes"}
        return self

    def run(self, work: Callable[[Any], Any], *, read_only: bool = False, **_: Any) -> Any:
        """Runs a transaction."""
        done = work(self)
        if read_only:
            self.meanwhile()
        return done

    def leases(self) -> list[Lease]:
        """Of all instances."""
        return [Lease(one.instance_id, one.ttl, one.reported, one.recheck) for one in self.known.values()]

    def instance(self, instance_id: str) -> Instance | None:
        """The instance."""
        return self.known.get(instance_id)

    def put_instance(self, instance: Instance) -> None:
        """Writes one."""
        self.taken.append(instance.instance_id)
        self.known[instance.instance_id] = instance

    def instances_by_id(self, instance_ids: Iterable[str]) -> list[Instance]:
        """Those of the ids that are there."""
        return [self.known[one] for one in instance_ids if one in self.known]

    def remove_instances(self, instance_ids: Iterable[str]) -> None:
        """Removes some."""
        if self.damaged & set(instance_ids):
            raise KeyError(self.damaged)
        for instance_id in instance_ids:
            del self.known[instance_id]

    def placements_on(self, _: Any) -> list[Any]:
        """None serves anything."""
        return []

    put_placements = remove_placements = placements_on

    def of_models(self, _: Any) -> dict[str, Any]:
        """No lane follows."""
        return {}

    def write(self, _: Any) -> int:
        """The revision."""
        return 1


class Sweep:
    """A Registry that sweeps when a test says so, with one instance whose lease was read once already."""

    def __init__(self, recheck: float | None = None) -> None:
        self.clock, self.database = ManualClock(), Database()
        self.service = InstanceService(
            cast("UnitOfWork", self.database), self.clock, debounce=3.0, look_seconds=TTL, revision=lambda: 1
        )
        at = self.clock.now()
        self.database.known["w"] = Instance("w", InstanceKind.WORKER, "w:1", TTL, at, at + TTL, recheck, "")
        self.once()
        self.database.taken.clear()

    def once(self) -> int:
        """Sweeps."""
        return self.service.sweep(deadline=0.0)

    def change(self, **changes: Any) -> None:
        """Changes the instance as another replica would."""
        self.database.known["w"] = replace(self.database.known["w"], **changes)


def test_a_lease_that_has_ended_is_taken_away_and_one_that_was_renewed_meanwhile_is_not() -> None:
    sweep = Sweep()
    sweep.clock.advance(TTL)
    sweep.database.meanwhile = lambda: sweep.change(reported=sweep.clock.now())
    assert sweep.once() == 1
    assert list(sweep.database.known) == ["w"]
    sweep.database.meanwhile = lambda: None
    sweep.clock.advance(TTL)
    # Its renewal is seen only now.
    assert sweep.once() == 0
    sweep.clock.advance(TTL)
    assert sweep.once() == 1
    assert not sweep.database.known


def test_one_that_another_replica_has_taken_away_is_gone() -> None:
    sweep = Sweep()
    sweep.clock.advance(TTL)
    sweep.database.meanwhile = sweep.database.known.clear
    assert sweep.once() == 1
    assert not sweep.database.known


@pytest.mark.parametrize("later", [None, 100.0])
def test_readiness_that_was_settled_meanwhile_is_not_settled_again(later: float | None) -> None:
    due = ManualClock().now() + 5.0
    sweep = Sweep(recheck=due)
    sweep.clock.advance(5.0)
    sweep.database.meanwhile = lambda: sweep.change(recheck=None if later is None else due + later)
    assert sweep.once() == 1
    assert sweep.database.taken == []


def test_readiness_that_is_pending_is_settled_when_its_time_has_come() -> None:
    due = ManualClock().now() + 5.0
    sweep = Sweep(recheck=due)
    sweep.clock.advance(4.0)
    assert sweep.once() == 0
    sweep.clock.advance(1.0)
    assert sweep.once() == 1
    assert sweep.database.taken == ["w"]


def test_leases_that_cannot_be_ended_keep_none_behind_them_from_its_end() -> None:
    sweep = Sweep()
    at, known = sweep.clock.now(), sweep.database.known
    for number in range(250):
        known[f"{number:03}"] = Instance(f"{number:03}", InstanceKind.WORKER, "w:1", TTL, at, at + TTL, None, "")
    sweep.database.damaged = set(list(known)[:150])
    sweep.once()
    sweep.clock.advance(TTL)
    for _ in range(3):
        with suppress(KeyError):
            sweep.once()
    assert known.keys() == sweep.database.damaged
    sweep.database.damaged = set()
    for _ in range(2):
        assert sweep.once()
    assert not known
