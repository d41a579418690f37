"""`python -m tests.checker.sabotaged NAME…`: a Registry made wrong on purpose, in one way or in several.

A checker that finds nothing in these would prove nothing about the real one.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from sqlalchemy import URL, Engine, insert, select, update

import registry.app
from registry.__main__ import main
from registry.database.catalog import SqlCatalog
from registry.database.engine import open_engine
from registry.database.lanes import SqlLanes
from registry.database.ledger import SqlLedger, _values
from registry.database.requests import SqlRequests
from registry.database.routes import SqlRouteLog
from registry.database.rows import lane_values, rollout_values
from registry.database.tables import events, lanes, models, rollouts
from registry.database.unit_of_work import SqlUnitOfWork
from registry.domain.lane_changes import LaneChanges
from registry.domain.ledger import Event, EventType, event_hash
from registry.domain.records import VersionInLane
from registry.domain.routes import LaneRoutes
from registry.domain.states import VersionState
from registry.remembered_changes import Batch, RememberedChanges
from registry.service import superseded, transitions


def isolation() -> None:
    """READ COMMITTED, and whoever writes last wins."""
    make = open_engine

    def weaker(url: URL, connections: int) -> Engine:
        return make(url, connections).execution_options(isolation_level="READ COMMITTED")

    setattr(registry.app, "open_engine", weaker)  # noqa: B010 - it is no name that others should take from there

    def save_lane(self: SqlLanes, lane: Any, before: Any) -> None:
        del before
        where = (lanes.c.model == lane.model, lanes.c.segment == lane.segment)
        self._session.execute(update(lanes).where(*where).values(**lane_values(lane)))

    def save_rollout(self: SqlLanes, rollout: Any, before: Any) -> None:
        del before
        where = (rollouts.c.model == rollout.model, rollouts.c.number == rollout.number)
        self._session.execute(update(rollouts).where(*where).values(**rollout_values(rollout)))

    def save_model(self: SqlCatalog, model: Any, before: Any) -> None:
        del before
        written = ("description", "next_version", "next_rollout", "etag")
        values = {name: getattr(model, name) for name in written}
        self._session.execute(update(models).where(models.c.model == model.model).values(**values))

    def append(self: SqlLedger, added: Iterable[Event]) -> None:
        # The number is taken at the last moment, so that it conflicts with hardly anybody's.
        for event in added:
            query = select(events.c.sequence, events.c.hash).where(events.c.model == event.model)
            last = self._session.execute(query.order_by(events.c.sequence.desc()).limit(1)).first()
            sequence, previous = (last.sequence, last.hash) if last else (0, "")
            placed = replace(event, sequence=sequence + 1, previous_hash=previous, hash="")
            placed = replace(placed, hash=event_hash(placed))
            self._session.execute(insert(events), [_values(placed)])
            self._session.execute(
                update(models)
                .where(models.c.model == event.model)
                .values(event_sequence=placed.sequence, event_hash=placed.hash)
            )

    # Writers of one process take turns, which is no part of what keeps the truth.
    run = SqlUnitOfWork.run

    def run_at_once(self: SqlUnitOfWork, work: Any, *, deadline: float, exclusive: bool = False, **options: Any) -> Any:
        del exclusive
        return run(self, work, deadline=deadline, **options)

    SqlUnitOfWork.run = run_at_once  # type: ignore[method-assign]
    SqlLanes.save_lane = save_lane  # type: ignore[method-assign]
    SqlLanes.save_rollout = save_rollout  # type: ignore[method-assign]
    SqlCatalog.save_model = save_model  # type: ignore[method-assign]
    SqlLedger.append = append  # type: ignore[method-assign]


def requests() -> None:
    """Nobody remembers what was asked."""
    SqlRequests.put = lambda *_: None  # type: ignore[method-assign]
    SqlRequests.find = lambda *_: None  # type: ignore[method-assign]


def ledger() -> None:
    """One event in twenty is lost."""
    keep = SqlLedger.append
    written = count(1)

    def append(self: SqlLedger, added: Iterable[Event]) -> None:
        keep(self, [event for event in added if next(written) % 20])

    SqlLedger.append = append  # type: ignore[method-assign]


def states() -> None:
    """One state in four of those that a lane may have often is not written."""
    put = SqlLanes.put_states
    often = (VersionState.PENDING, VersionState.WITHDRAWN, VersionState.DEPRECATED, VersionState.FAILED)
    written = count(1)

    def put_states(self: SqlLanes, model: str, segment: str, states: Iterable[VersionInLane]) -> None:
        put(self, model, segment, [one for one in states if one.state not in often or next(written) % 4])

    SqlLanes.put_states = put_states  # type: ignore[method-assign]


def clock() -> None:
    """What changes no routes states a revision from a while ago."""
    write = SqlRouteLog.write

    def written(self: SqlRouteLog, routes: Sequence[LaneRoutes]) -> int:
        revision = write(self, routes)
        return revision if self.written else max(0, revision - 3)

    SqlRouteLog.write = written  # type: ignore[method-assign]


def watches() -> None:
    """One revision in five does not reach those who watch."""
    add = RememberedChanges.add
    read = count(1)

    def forgetful(self: RememberedChanges, batches: Iterable[Batch]) -> None:
        add(self, batches)
        if next(read) % 5 == 0:
            self._batches.pop()

    RememberedChanges.add = forgetful  # type: ignore[method-assign]


def etags() -> None:
    """Nobody asks what the caller of a transition has seen."""
    for module in (transitions, superseded):
        setattr(module, "check_seen", lambda *_: None)  # noqa: B010 - it is no name that others should take from there


def _begun(times: int) -> None:
    """The beginning of one rollout in three is told so often."""
    tell = LaneChanges._event
    written = count(1)

    def told(self: LaneChanges, kind: EventType, *values: Any, **named: Any) -> None:
        for _ in range(1 if kind != "ROLLOUT_RUNNING" or next(written) % 3 else times):
            tell(self, kind, *values, **named)

    LaneChanges._event = told  # type: ignore[method-assign]


def twice() -> None:
    """The beginning of one rollout in three is told twice."""
    _begun(2)


def untold() -> None:
    """The beginning of one rollout in three is not told."""
    _begun(0)


_SABOTAGES = {one.__name__: one for one in (isolation, requests, ledger, states, clock, watches, etags, twice, untold)}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        _SABOTAGES[name]()
    sys.exit(main([]))
