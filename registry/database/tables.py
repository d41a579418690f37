"""The tables. Keys are made by clients, states are text under CHECK, and every constraint has a name."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from registry.database.columns import Moment, among, in_states
from registry.domain.records import Assignment, Objective, PauseReason
from registry.domain.serving import InstanceKind, ServingState, Traffic
from registry.domain.states import LIVE_STATES, OPEN_STATES, RolloutState, VersionState

METADATA: Final = MetaData()
# The CHECKs name every state of the contract, those too that no operation leads to yet: a later release that uses them
# has no constraint to change, and this one can go on beside it.

schema_release = Table(
    "schema_release",
    METADATA,
    Column("id", Integer, nullable=False, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("release", Text, nullable=False),
    PrimaryKeyConstraint("id", name="schema_release_pk"),
    CheckConstraint("id = 1", name="schema_release_one"),
)

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

lanes = Table(
    "lanes",
    METADATA,
    Column("model", Text, nullable=False),
    Column("segment", Text, nullable=False),
    Column("stable_version", Text, nullable=False),
    Column("stable_since", Moment),
    Column("stable_seen", Boolean, nullable=False),
    Column("previous_version", Text, nullable=False),
    Column("handover_version", Text, nullable=False),
    Column("handover_offset", Integer, nullable=False),
    Column("live", BigInteger, nullable=False),
    Column("queued", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("slice_seconds", Double, nullable=False),
    Column("test_version", Text, nullable=False),
    Column("test_bps", Integer, nullable=False),
    Column("control_version", Text, nullable=False),
    Column("control_bps", Integer, nullable=False),
    Column("split_version", Text, nullable=False),
    Column("split_bps", Integer, nullable=False),
    Column("next_offset", Integer, nullable=False),
    Column("loaded", Text, nullable=False),
    Column("loaded_until", Moment),
    Column("etag", Text, nullable=False),
    Column("removed", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("model", "segment", name="lanes_pk"),
    CheckConstraint("test_bps + control_bps + split_bps IN (0, 10000)", name="lanes_split"),
    Index("lanes_by_loaded", "loaded_until"),
)

lane_versions = Table(
    "lane_versions",
    METADATA,
    Column("model", Text, nullable=False),
    Column("segment", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Moment, nullable=False),
    PrimaryKeyConstraint("model", "segment", "version", name="lane_versions_pk"),
    among("lane_versions_state", "state", VersionState),
    Index("lane_versions_one_stable", "model", "segment", unique=True, postgresql_where=text("state = 'STABLE'")),
    Index("lane_versions_one_testing", "model", "segment", unique=True, postgresql_where=text("state = 'TESTING'")),
    Index("lane_versions_by_state", "model", "segment", "state", "since"),
    Index("lane_versions_by_version", "model", "version"),
    Index("lane_versions_by_since", "model", "segment", "since"),
)

# One row for each state that a version came into, under the number of the model's event that says why; those of event 0
# were there before there was a history. `noted` is when the row was written.
state_history = Table(
    "state_history",
    METADATA,
    Column("model", Text, nullable=False),
    Column("segment", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("noted", Moment, nullable=False),
    PrimaryKeyConstraint("model", "segment", "sequence", "version", name="state_history_pk"),
    Index("state_history_by_version", "model", "segment", "version", "sequence"),
    Index("state_history_by_noted", "model", "segment", "noted", "sequence"),
    Index("state_history_by_revision", "model", "segment", "revision", "sequence"),
    Index("state_history_by_state_noted", "model", "segment", "state", "noted", "sequence"),
    Index("state_history_by_state_revision", "model", "segment", "state", "revision", "sequence"),
)

rollouts = Table(
    "rollouts",
    METADATA,
    Column("model", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("segment", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("stable_version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("plan", LargeBinary, nullable=False),
    Column("policy", LargeBinary, nullable=False),
    Column("objective", Text, nullable=False),
    Column("assignment", Text, nullable=False),
    Column("allow_incompatible", Boolean, nullable=False),
    Column("step", Integer, nullable=False),
    Column("step_started", Moment),
    Column("step_paused", Double, nullable=False),
    Column("paused", Moment),
    Column("pause_reason", Text),
    Column("bucket_offset", Integer, nullable=False),
    Column("effective_share_bps", Integer, nullable=False),
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("ended", Moment),
    Column("creator", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("outcome", LargeBinary),
    Column("etag", Text, nullable=False),
    Column("approval_required", Boolean, nullable=False, server_default=false()),
    Column("approver", Text, nullable=False, server_default=""),
    Column("approved", Moment),
    Column("approval_reason", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("model", "number", name="rollouts_pk"),
    among("rollouts_state", "state", RolloutState),
    among("rollouts_objective", "objective", Objective),
    among("rollouts_assignment", "assignment", Assignment),
    among("rollouts_pause_reason", "pause_reason", PauseReason),
    CheckConstraint("bucket_offset BETWEEN 0 AND 9999", name="rollouts_bucket_offset"),
    Index("rollouts_one_live", "model", "segment", unique=True, postgresql_where=in_states(LIVE_STATES)),
    Index("rollouts_one_queued", "model", "segment", unique=True, postgresql_where=text("state = 'QUEUED'")),
    Index("rollouts_open", "model", "number", postgresql_where=in_states(OPEN_STATES)),
    Index("rollouts_by_time", "created", "model", "number"),
    Index("rollouts_by_version", "model", "version", "number"),
)

rollout_looks = Table(
    "rollout_looks",
    METADATA,
    Column("model", Text, nullable=False),
    Column("rollout", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("cursor", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "rollout", name="rollout_looks_pk"),
)

analyses = Table(
    "analyses",
    METADATA,
    Column("model", Text, nullable=False),
    Column("rollout", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("recorded", Moment, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "rollout", "sequence", name="analyses_pk"),
    Index("analyses_by_time", "recorded"),
)

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
    PrimaryKeyConstraint("revision", "model", "segment", name="route_changes_pk"),
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
    PrimaryKeyConstraint("model", "sequence", "webhook", name="outbox_pk"),
    Index("outbox_by_webhook", "webhook", "created", "model", "sequence"),
    Index("outbox_by_time", "created"),
)
