"""What came by watches, held against the tables and the ledger."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from crossfade.names import parse_rollout
from crossfade.registry.v1 import resources_pb2
from tests.checker.replay import LaneState, Replay
from tests.checker.tables import Tables
from tests.checker.watchers import Routes, Watcher, in_force

_STABLE: Final = resources_pb2.VERSION_STATE_STABLE
_TESTING: Final = resources_pb2.VERSION_STATE_TESTING


def find_watched(watchers: Iterable[Watcher], tables: Tables, replays: Mapping[str, Replay]) -> list[str]:
    """Everything that is against the rules; empty: nothing."""
    found: list[str] = []
    if sorted(tables.changes) != list(range(1, tables.revision + 1)):
        found.append(f"revisions up to {tables.revision} were left out, or written twice")
    course: list[Routes] = [{}]
    for revision in range(1, tables.revision + 1):
        course.append(in_force(course[-1], tables.changes.get(revision, {})))
    if course[-1] != tables.routes:
        found.append("the routes in force do not follow from their changes")
    for watcher in watchers:
        found += itertools.chain(watcher.found, _missed(watcher, tables, course))
    for revision, routes in tables.changes.items():
        for one in routes.values():
            lane = replays[one.model].lanes.get(one.segment, LaneState())
            found += [f"revision {revision}, {one.model}/{one.segment}: {what}" for what in _wrong(one, lane, revision)]
    return found


def _missed(watcher: Watcher, tables: Tables, course: Sequence[Routes]) -> Iterator[str]:
    """What a watcher got otherwise than it was written.

    Args:
        watcher: one.
        tables: as they are.
        course: all routes by revision.
    """
    if watcher.lanes != tables.routes:
        every = sorted({*watcher.lanes, *tables.routes})
        wrong = [lane for lane in every if watcher.lanes.get(lane) != tables.routes.get(lane)]
        yield f"{watcher} knows other routes than there are at {watcher.revision}: of {wrong}"
    for revision, routes in watcher.begun:
        if routes != course[revision]:
            yield f"{watcher} began at revision {revision} with other routes than there were"
    for revision, routes in watcher.changes.items():
        if routes != tables.changes.get(revision):
            yield f"{watcher} got other changes by revision {revision} than there were: of {list(routes)}"


def _wrong(routes: resources_pb2.LaneRoutes, lane: LaneState, revision: int) -> Iterator[str]:
    """At each revision: one stable version and one under test at most, and those of the ledger."""
    for what, state, named in (
        ("stable", _STABLE, routes.stable_version),
        ("test", _TESTING, routes.test_version),
    ):
        those = [one.version for one in routes.wanted if one.state == state]
        if those != ([named] if named else []):
            yield f"the {what} version is {named!r}, and in that state are {those}"
    number = parse_rollout(routes.rollout)[1] if routes.rollout else 0
    if (routes.stable_version, number) != lane.at(revision):
        yield f"{routes.stable_version!r} is stable, rollout {number} live; by the ledger {lane.at(revision)}"
