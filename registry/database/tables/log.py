"""What has happened: events, those to be told of, answers to requests, and changes of the routes."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from registry.database.columns import Moment
from registry.database.tables.metadata import METADATA
from registry.domain.webhooks import REFUSALS

ASIDE: Final = f"refused >= {REFUSALS}"
"""Of an event for which the later ones of its model wait no longer."""
IN_TURN: Final = f"refused < {REFUSALS}"
"""Of one that they wait for."""

events = Table(
    "events",
    METADATA,
    Column("model", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("segment", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("rollout", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("outcome", LargeBinary),
    Column("hash", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    PrimaryKeyConstraint("model", "sequence", name="events_pk"),
    Index("events_by_rollout", "model", "rollout", "sequence"),
    Index("events_by_time", "time", "model", "sequence"),
    Index("events_by_version", "model", "version", "sequence"),
    Index("events_by_type", "type", "model", "segment", "sequence"),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("model", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("webhook", Text, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Column("created", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Moment, nullable=False),
    Column("error", Text, nullable=False),
    Column("refused", Integer, nullable=False),
    PrimaryKeyConstraint("model", "sequence", "webhook", name="outbox_pk"),
    Index("outbox_heads", "webhook", "model", "sequence", postgresql_where=text(IN_TURN)),
    Index("outbox_by_webhook", "webhook", "created", "model", "sequence"),
    Index("outbox_by_time", "created"),
    Index("outbox_aside", "webhook", "due", postgresql_where=text(ASIDE)),
)

receivers = Table(
    "receivers",
    METADATA,
    Column("webhook", Text, nullable=False),
    Column("due", Moment, nullable=False),
    Column("failures", Integer, nullable=False),
    PrimaryKeyConstraint("webhook", name="receivers_pk"),
)

requests = Table(
    "requests",
    METADATA,
    Column("principal", Text, nullable=False),
    Column("rpc", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created", Moment, nullable=False),
    PrimaryKeyConstraint("principal", "rpc", "request_id", name="requests_pk"),
    Index("requests_by_time", "created"),
)

route_clock = Table(
    "route_clock",
    METADATA,
    Column("id", Integer, nullable=False, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("compacted", BigInteger, nullable=False),
    PrimaryKeyConstraint("id", name="route_clock_pk"),
    CheckConstraint("id = 1", name="route_clock_one"),
)

lane_routes = Table(
    "lane_routes",
    METADATA,
    Column("model", Text, nullable=False),
    Column("segment", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "segment", name="lane_routes_pk"),
)

route_changes = Table(
    "route_changes",
    METADATA,
    Column("revision", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("segment", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("mark", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("revision", "model", "segment", name="route_changes_pk"),
)
