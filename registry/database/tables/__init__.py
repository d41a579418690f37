"""The tables. Keys are made by clients, states are text under CHECK, and every constraint has a name."""

from registry.database.tables.catalog import models, profiles, versions
from registry.database.tables.fleet import instances, readiness, schema_release
from registry.database.tables.lanes import (
    analyses,
    lane_versions,
    lanes,
    monitors,
    rollout_looks,
    rollouts,
    state_history,
)
from registry.database.tables.log import (
    ASIDE,
    IN_TURN,
    events,
    lane_routes,
    outbox,
    receivers,
    requests,
    route_changes,
    route_clock,
)
from registry.database.tables.metadata import METADATA

__all__ = [
    "ASIDE",
    "IN_TURN",
    "METADATA",
    "analyses",
    "events",
    "instances",
    "lane_routes",
    "lane_versions",
    "lanes",
    "models",
    "monitors",
    "outbox",
    "profiles",
    "readiness",
    "receivers",
    "requests",
    "rollout_looks",
    "rollouts",
    "route_changes",
    "route_clock",
    "schema_release",
    "state_history",
    "versions",
]
