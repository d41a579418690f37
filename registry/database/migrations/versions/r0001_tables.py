"""The tables and indexes of the first release."""

from typing import Final

from alembic import op

revision: Final = "0001"
down_revision: Final = None
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = (
    """
    CREATE TABLE IF NOT EXISTS schema_release (
        id INTEGER NOT NULL,
        version TEXT NOT NULL,
        release TEXT NOT NULL,
        CONSTRAINT schema_release_pk PRIMARY KEY (id),
        CONSTRAINT schema_release_one CHECK (id = 1)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS models (
        model TEXT NOT NULL,
        description TEXT NOT NULL,
        created TIMESTAMP WITH TIME ZONE NOT NULL,
        next_version BIGINT NOT NULL,
        next_rollout BIGINT NOT NULL,
        event_sequence BIGINT NOT NULL,
        event_hash TEXT NOT NULL,
        etag TEXT NOT NULL,
        CONSTRAINT models_pk PRIMARY KEY (model)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS versions (
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        number BIGINT NOT NULL,
        artifact_uri TEXT NOT NULL,
        artifact_digest TEXT NOT NULL,
        artifact_bytes BIGINT NOT NULL,
        signature BYTEA NOT NULL,
        description TEXT NOT NULL,
        created TIMESTAMP WITH TIME ZONE NOT NULL,
        creator TEXT NOT NULL,
        CONSTRAINT versions_pk PRIMARY KEY (model, version),
        CONSTRAINT versions_number UNIQUE (model, number)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS profiles (
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        profile BYTEA NOT NULL,
        CONSTRAINT profiles_pk PRIMARY KEY (model, version)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS lanes (
        model TEXT NOT NULL,
        segment TEXT NOT NULL,
        stable_version TEXT NOT NULL,
        stable_since TIMESTAMP WITH TIME ZONE,
        stable_seen BOOLEAN NOT NULL,
        previous_version TEXT NOT NULL,
        handover_version TEXT NOT NULL,
        handover_offset INTEGER NOT NULL,
        live BIGINT NOT NULL,
        queued BIGINT NOT NULL,
        epoch BIGINT NOT NULL,
        slice_seconds DOUBLE PRECISION NOT NULL,
        test_version TEXT NOT NULL,
        test_bps INTEGER NOT NULL,
        control_version TEXT NOT NULL,
        control_bps INTEGER NOT NULL,
        split_version TEXT NOT NULL,
        split_bps INTEGER NOT NULL,
        next_offset INTEGER NOT NULL,
        loaded TEXT NOT NULL,
        loaded_until TIMESTAMP WITH TIME ZONE,
        etag TEXT NOT NULL,
        CONSTRAINT lanes_pk PRIMARY KEY (model, segment),
        CONSTRAINT lanes_split CHECK (test_bps + control_bps + split_bps IN (0, 10000))
    )
    """,
    "CREATE INDEX IF NOT EXISTS lanes_by_loaded ON lanes (loaded_until)",
    """
    CREATE TABLE IF NOT EXISTS lane_versions (
        model TEXT NOT NULL,
        segment TEXT NOT NULL,
        version TEXT NOT NULL,
        state TEXT NOT NULL,
        since TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT lane_versions_pk PRIMARY KEY (model, segment, version),
        CONSTRAINT lane_versions_state CHECK (
            state IN ('DEPRECATED', 'FAILED', 'PENDING', 'STABLE', 'TESTING', 'WITHDRAWN')
        )
    )
    """,
    "CREATE INDEX IF NOT EXISTS lane_versions_by_state ON lane_versions (model, segment, state, since)",
    "CREATE INDEX IF NOT EXISTS lane_versions_by_version ON lane_versions (model, version)",
    """
    CREATE UNIQUE INDEX IF NOT EXISTS lane_versions_one_stable ON lane_versions (model, segment)
    WHERE state = 'STABLE'
    """,
    """
    CREATE UNIQUE INDEX IF NOT EXISTS lane_versions_one_testing ON lane_versions (model, segment)
    WHERE state = 'TESTING'
    """,
    """
    CREATE TABLE IF NOT EXISTS rollouts (
        model TEXT NOT NULL,
        number BIGINT NOT NULL,
        segment TEXT NOT NULL,
        version TEXT NOT NULL,
        stable_version TEXT NOT NULL,
        state TEXT NOT NULL,
        plan BYTEA NOT NULL,
        policy BYTEA NOT NULL,
        objective TEXT NOT NULL,
        assignment TEXT NOT NULL,
        allow_incompatible BOOLEAN NOT NULL,
        step INTEGER NOT NULL,
        step_started TIMESTAMP WITH TIME ZONE,
        step_paused DOUBLE PRECISION NOT NULL,
        paused TIMESTAMP WITH TIME ZONE,
        pause_reason TEXT,
        bucket_offset INTEGER NOT NULL,
        effective_share_bps INTEGER NOT NULL,
        created TIMESTAMP WITH TIME ZONE NOT NULL,
        started TIMESTAMP WITH TIME ZONE,
        ended TIMESTAMP WITH TIME ZONE,
        creator TEXT NOT NULL,
        note TEXT NOT NULL,
        outcome BYTEA,
        etag TEXT NOT NULL,
        CONSTRAINT rollouts_pk PRIMARY KEY (model, number),
        CONSTRAINT rollouts_state CHECK (
            state IN (
                'CANCELLED', 'INCONCLUSIVE', 'PAUSED', 'PROMOTED', 'QUEUED', 'ROLLED_BACK', 'RUNNING', 'WAITING_READY'
            )
        ),
        CONSTRAINT rollouts_objective CHECK (objective IN ('NON_INFERIOR', 'SUPERIOR')),
        CONSTRAINT rollouts_assignment CHECK (assignment IN ('KEY', 'REQUEST')),
        CONSTRAINT rollouts_pause_reason CHECK (pause_reason IN ('INPUT_DRIFT', 'PERSON')),
        CONSTRAINT rollouts_bucket_offset CHECK (bucket_offset BETWEEN 0 AND 9999)
    )
    """,
    "CREATE INDEX IF NOT EXISTS rollouts_by_time ON rollouts (created, model, number)",
    """
    CREATE UNIQUE INDEX IF NOT EXISTS rollouts_one_live ON rollouts (model, segment)
    WHERE state IN ('PAUSED', 'RUNNING', 'WAITING_READY')
    """,
    "CREATE UNIQUE INDEX IF NOT EXISTS rollouts_one_queued ON rollouts (model, segment) WHERE state = 'QUEUED'",
    """
    CREATE INDEX IF NOT EXISTS rollouts_open ON rollouts (model, number)
    WHERE state IN ('PAUSED', 'QUEUED', 'RUNNING', 'WAITING_READY')
    """,
    """
    CREATE TABLE IF NOT EXISTS rollout_looks (
        model TEXT NOT NULL,
        rollout BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        cursor BYTEA NOT NULL,
        CONSTRAINT rollout_looks_pk PRIMARY KEY (model, rollout)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS analyses (
        model TEXT NOT NULL,
        rollout BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        recorded TIMESTAMP WITH TIME ZONE NOT NULL,
        payload BYTEA NOT NULL,
        CONSTRAINT analyses_pk PRIMARY KEY (model, rollout, sequence)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS instances (
        instance_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        address TEXT NOT NULL,
        ttl DOUBLE PRECISION NOT NULL,
        reported TIMESTAMP WITH TIME ZONE NOT NULL,
        expires TIMESTAMP WITH TIME ZONE NOT NULL,
        recheck TIMESTAMP WITH TIME ZONE,
        digest TEXT NOT NULL,
        CONSTRAINT instances_pk PRIMARY KEY (instance_id),
        CONSTRAINT instances_kind CHECK (kind IN ('EVALUATOR', 'ROUTER', 'WORKER'))
    )
    """,
    "CREATE INDEX IF NOT EXISTS instances_by_expiry ON instances (expires)",
    "CREATE INDEX IF NOT EXISTS instances_by_kind ON instances (kind, instance_id)",
    """
    CREATE TABLE IF NOT EXISTS readiness (
        instance_id TEXT NOT NULL,
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        traffic TEXT NOT NULL,
        address TEXT NOT NULL,
        state TEXT NOT NULL,
        error TEXT NOT NULL,
        error_code TEXT NOT NULL,
        load_report BYTEA NOT NULL,
        ready BOOLEAN NOT NULL,
        since TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT readiness_pk PRIMARY KEY (instance_id, model, version, traffic),
        CONSTRAINT readiness_state CHECK (state IN ('DRAINING', 'FAILED', 'LOADING', 'READY')),
        CONSTRAINT readiness_traffic CHECK (traffic IN ('CONTROL', 'LIVE'))
    )
    """,
    "CREATE INDEX IF NOT EXISTS readiness_by_version ON readiness (model, version)",
    """
    CREATE TABLE IF NOT EXISTS events (
        model TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        segment TEXT NOT NULL,
        version TEXT NOT NULL,
        rollout BIGINT NOT NULL,
        type TEXT NOT NULL,
        time TIMESTAMP WITH TIME ZONE NOT NULL,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        revision BIGINT NOT NULL,
        outcome BYTEA,
        hash TEXT NOT NULL,
        previous_hash TEXT NOT NULL,
        CONSTRAINT events_pk PRIMARY KEY (model, sequence)
    )
    """,
    "CREATE INDEX IF NOT EXISTS events_by_rollout ON events (model, rollout, sequence)",
    "CREATE INDEX IF NOT EXISTS events_by_time ON events (time, model, sequence)",
    """
    CREATE TABLE IF NOT EXISTS requests (
        principal TEXT NOT NULL,
        rpc TEXT NOT NULL,
        request_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        answer BYTEA NOT NULL,
        created TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT requests_pk PRIMARY KEY (principal, rpc, request_id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS requests_by_time ON requests (created)",
    """
    CREATE TABLE IF NOT EXISTS route_clock (
        id INTEGER NOT NULL,
        revision BIGINT NOT NULL,
        compacted BIGINT NOT NULL,
        CONSTRAINT route_clock_pk PRIMARY KEY (id),
        CONSTRAINT route_clock_one CHECK (id = 1)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS lane_routes (
        model TEXT NOT NULL,
        segment TEXT NOT NULL,
        payload BYTEA NOT NULL,
        CONSTRAINT lane_routes_pk PRIMARY KEY (model, segment)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS route_changes (
        revision BIGINT NOT NULL,
        model TEXT NOT NULL,
        segment TEXT NOT NULL,
        payload BYTEA NOT NULL,
        CONSTRAINT route_changes_pk PRIMARY KEY (revision, model, segment)
    )
    """,
)


def upgrade() -> None:
    """Creates what is missing."""
    for statement in STATEMENTS:
        op.execute(statement)
