"""Processes and what they serve; and by which release the schema was made."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
)

from registry.database.columns import Moment, among
from registry.database.tables.metadata import METADATA
from registry.domain.serving import InstanceKind, ServingState, Traffic

instances = Table(
    "instances",
    METADATA,
    Column("instance_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("ttl", Double, nullable=False),
    Column("reported", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("recheck", Moment),
    Column("digest", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("gone", Boolean, nullable=False, server_default=false()),
    Column("owner", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("instance_id", name="instances_pk"),
    among("instances_kind", "kind", InstanceKind),
    Index("instances_by_kind", "kind", "instance_id"),
)

readiness = Table(
    "readiness",
    METADATA,
    Column("instance_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("traffic", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("load_report", LargeBinary, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("since", Moment, nullable=False),
    PrimaryKeyConstraint("instance_id", "model", "version", "traffic", name="readiness_pk"),
    among("readiness_state", "state", ServingState),
    among("readiness_traffic", "traffic", Traffic),
    Index("readiness_by_version", "model", "version"),
)

schema_release = Table(
    "schema_release",
    METADATA,
    Column("id", Integer, nullable=False, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("release", Text, nullable=False),
    PrimaryKeyConstraint("id", name="schema_release_pk"),
    CheckConstraint("id = 1", name="schema_release_one"),
)
