"""Registries that have seen years: versions, rollouts and events by the thousand, written straight into the tables."""

from typing import Final

import psycopg

from benchmarks.dsn import dsn

# Copies of rows that the Registry wrote itself, so that only what makes them differ stands here.
_VERSIONS: Final = (
    """
    INSERT INTO versions (model, version, number, artifact_uri, artifact_digest, artifact_bytes, signature, description,
                          created, creator)
    SELECT model, 'old' || n::text, 1000 + n, artifact_uri, artifact_digest, artifact_bytes, signature, description,
           created, creator
    FROM versions, generate_series(1, %(versions)s) AS n WHERE model = %(model)s AND version = 'v1'
    """,
    """
    INSERT INTO profiles (model, version, profile)
    SELECT %(model)s, 'old' || n::text, '' FROM generate_series(1, %(versions)s) AS n
    """,
    """
    INSERT INTO lane_versions (model, segment, version, state, since)
    SELECT %(model)s, '', 'old' || n::text, CASE WHEN n %% 10 = 0 THEN 'FAILED' ELSE 'DEPRECATED' END,
           now() - n * interval '1 h'
    FROM generate_series(1, %(versions)s) AS n
    """,
    """
    INSERT INTO rollouts (model, number, segment, version, stable_version, state, plan, policy, objective, assignment,
                          allow_incompatible, step, step_started, step_paused, bucket_offset, effective_share_bps,
                          created, started, ended, creator, note, etag)
    SELECT model, 1000 + n, segment, 'old' || n::text, stable_version, 'PROMOTED', plan, policy, objective, assignment,
           allow_incompatible, step, step_started, step_paused, bucket_offset, 0,
           created - n * interval '1 h', started, created, creator, note, 'old' || n::text
    FROM rollouts, generate_series(1, %(versions)s) AS n WHERE model = %(model)s AND number = 1
    """,
    """
    INSERT INTO rollout_looks (model, rollout, sequence, cursor)
    SELECT %(model)s, 1000 + n, 0, '' FROM generate_series(1, %(versions)s) AS n
    """,
)
_EVENTS: Final = (
    """
    INSERT INTO events (model, sequence, segment, version, rollout, type, time, actor, reason, revision, hash,
                        previous_hash)
    SELECT model, 1000 + n, segment, 'old' || (n %% %(versions)s + 1)::text, 1001 + n %% %(versions)s, type,
           time - (%(events)s - n) * interval '1 s', actor, reason, revision, hash, previous_hash
    FROM events, generate_series(1, %(events)s) AS n WHERE model = %(model)s AND sequence = 1
    """,
    """
    INSERT INTO state_history (model, segment, sequence, version, state, since, revision, noted)
    SELECT %(model)s, '', 1000 + n, 'old' || (n %% %(versions)s + 1)::text, 'DEPRECATED',
           now() - (%(events)s - n) * interval '1 s', n, now() - (%(events)s - n) * interval '1 s'
    FROM generate_series(1, %(events)s, 10) AS n
    """,
    """
    INSERT INTO requests (principal, rpc, request_id, digest, answer, created)
    SELECT 'old', 'PauseRollout', n::text, '', '', now() - n * interval '1 ms'
    FROM generate_series(1, %(events)s, 10) AS n
    """,
    """
    INSERT INTO route_changes (revision, model, segment, payload)
    SELECT clock.revision + n, model, segment, payload
    FROM lane_routes, route_clock AS clock, generate_series(1, %(events)s, 10) AS n WHERE model = %(model)s
    """,
    "UPDATE route_clock SET revision = (SELECT max(revision) FROM route_changes)",
    """
    UPDATE models SET event_sequence = 1000 + %(events)s, next_version = 1001 + %(versions)s,
                      next_rollout = 1001 + %(versions)s WHERE model = %(model)s
    """,
)


def grow(database: str, model: str, *, versions: int, events: int) -> None:
    """Gives a model that has v1 and rollout 1 so many versions and rollouts that have ended, and so many events.

    Every tenth event has changed a state, the routes, and an answer that is kept. The chain of the events is not one.

    Args:
        database: its URL; no Registry may run on it. Its planner is to be told afterwards (ANALYZE).
        model: one with a lane, by `benchmarks.registries.running`.
        versions: more of them.
        events: more of them.
    """
    values = {"model": model, "versions": versions, "events": events}
    with psycopg.connect(dsn(database), autocommit=True) as connection:
        for statement in (*_VERSIONS, *_EVENTS):
            connection.execute(statement, values)
