"""Models, versions, and what was published with them."""

from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from registry.database.columns import Moment
from registry.database.tables.metadata import METADATA

models = Table(
    "models",
    METADATA,
    Column("model", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("next_version", BigInteger, nullable=False),
    Column("next_rollout", BigInteger, nullable=False),
    Column("event_sequence", BigInteger, nullable=False),
    Column("event_hash", Text, nullable=False),
    Column("etag", Text, nullable=False),
    Column("compacted_sequence", BigInteger, nullable=False, server_default="0"),
    Column("compacted_hash", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("model", name="models_pk"),
)

versions = Table(
    "versions",
    METADATA,
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("artifact_uri", Text, nullable=False),
    Column("artifact_digest", Text, nullable=False),
    Column("artifact_bytes", BigInteger, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("description", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("creator", Text, nullable=False),
    PrimaryKeyConstraint("model", "version", name="versions_pk"),
    UniqueConstraint("model", "number", name="versions_number"),
)

# Apart from the versions, of which lists are made: a profile has some kilobytes.
profiles = Table(
    "profiles",
    METADATA,
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("profile", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "version", name="profiles_pk"),
)
