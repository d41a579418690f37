"""What the tables hold after a run, every row of it: a model's answer shows a hundred versions of a lane."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from benchmarks.dsn import dsn
from crossfade.common.v1 import analysis_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2
from tests.checker.journal import marker_of

Lane = tuple[str, str]
"""Model and segment."""
_Rows = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """A rollout.

    Attributes:
        marker: of the operation that asked for it, by its plan.
        unapproved: a person should have agreed, and none has.
    """

    segment: str
    version: str
    state: str
    marker: str
    unapproved: bool


@dataclass(slots=True)
class Tables:
    """All of it.

    Attributes:
        states: of versions, by lane and version.
        past: the latest state in the history of states, likewise.
        rollouts: by model and number.
        looks: of a rollout, by model and number: the number of each and its marker, in order.
        looked: number of the latest look, likewise.
        descriptions: of models.
        learning: seconds, of lanes' monitors.
        loaded: versions that lanes hold for pinned calls.
        removed: lanes that were taken away.
        routes: in force.
        changes: of the routes, by revision and lane.
        revision: the latest.
        events: how many there are in all ledgers.
    """

    states: dict[Lane, dict[str, str]] = field(default_factory=dict)
    past: dict[Lane, dict[str, str]] = field(default_factory=dict)
    rollouts: dict[tuple[str, int], RolloutRow] = field(default_factory=dict)
    looks: dict[tuple[str, int], list[tuple[int, str]]] = field(default_factory=dict)
    looked: dict[tuple[str, int], int] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    learning: dict[Lane, float] = field(default_factory=dict)
    loaded: dict[Lane, set[str]] = field(default_factory=dict)
    removed: set[Lane] = field(default_factory=set)
    routes: dict[Lane, resources_pb2.LaneRoutes] = field(default_factory=dict)
    changes: dict[int, dict[Lane, resources_pb2.LaneRoutes]] = field(default_factory=dict)
    revision: int = 0
    events: int = 0


def read_tables(database: str) -> Tables:
    """Reads them, as of one moment."""
    found = Tables()
    with psycopg.connect(dsn(database)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE

        def rows(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query.encode()).fetchall()

        _read_lanes(rows, found)
        _read_rollouts(rows, found)
        _read_routes(rows, found)
        for model, description, sequence in rows("SELECT model, description, event_sequence FROM models"):
            found.descriptions[model] = description
            found.events += sequence
    return found


def _read_lanes(rows: _Rows, found: Tables) -> None:
    for model, segment, version, state in rows("SELECT model, segment, version, state FROM lane_versions"):
        found.states.setdefault((model, segment), {})[version] = state
    history = "SELECT model, segment, version, state FROM state_history ORDER BY model, segment, sequence"
    for model, segment, version, state in rows(history):
        found.past.setdefault((model, segment), {})[version] = state
    for model, segment, learn in rows("SELECT model, segment, learn FROM monitors"):
        found.learning[model, segment] = learn
    for model, segment, loaded, removed in rows("SELECT model, segment, loaded, removed FROM lanes"):
        found.loaded[model, segment] = {version for version, _ in json.loads(loaded)}
        if removed:
            found.removed.add((model, segment))


def _read_rollouts(rows: _Rows, found: Tables) -> None:
    kept = "SELECT model, number, segment, version, state, plan, approval_required AND approver = '' FROM rollouts"
    for model, number, segment, version, state, plan, unapproved in rows(kept):
        first = policy_pb2.TrafficPlan.FromString(plan).steps[0].period.seconds
        found.rollouts[model, number] = RolloutRow(segment, version, state, marker_of(first), unapproved)
    looks = "SELECT model, rollout, sequence, payload FROM analyses ORDER BY model, rollout, sequence"
    for model, number, sequence, payload in rows(looks):
        word = analysis_pb2.Analysis.FromString(payload).policy_hash
        found.looks.setdefault((model, number), []).append((sequence, word))
    for model, number, sequence in rows("SELECT model, rollout, sequence FROM rollout_looks"):
        found.looked[model, number] = sequence


def _read_routes(rows: _Rows, found: Tables) -> None:
    for model, segment, payload in rows("SELECT model, segment, payload FROM lane_routes"):
        found.routes[model, segment] = resources_pb2.LaneRoutes.FromString(payload)
    for revision, model, segment, payload in rows("SELECT revision, model, segment, payload FROM route_changes"):
        routes = resources_pb2.LaneRoutes.FromString(payload)
        found.changes.setdefault(revision, {})[model, segment] = routes
    ((found.revision,),) = rows("SELECT revision FROM route_clock")
