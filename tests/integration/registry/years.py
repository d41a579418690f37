"""What a Registry has kept after years, beside versions and events: what nobody was told of, looks, and the past."""

from typing import Final

import psycopg

from benchmarks.dsn import dsn
from crossfade.registry.v1 import resources_pb2

_EVENTS: Final = (
    # A type that was common once and is not any more, as a planner does not know.
    "UPDATE events SET type = 'ROLLOUT_PROMOTED' WHERE sequence BETWEEN 1001 AND 5000",
    # The beginning was forgotten before.
    "DELETE FROM events WHERE sequence <= 1000",
    "UPDATE models SET compacted_sequence = 1000 WHERE model = 'm'",
)
_BACKLOG: Final = (
    """
    INSERT INTO models (model, description, created, next_version, next_rollout, event_sequence, event_hash, etag)
    SELECT 'm' || n::text, '', now(), 1, 1, 0, '', '' FROM generate_series(0, 99) AS n
    """,
    # All are due. Of some models what comes first was refused too often.
    """
    INSERT INTO outbox (model, sequence, webhook, event, created, attempts, due, error, refused)
    SELECT 'm' || (n %% 100)::text, div(n, 100), 'dead', %(event)s, now() - (100000 - n) * interval '1 s', 0,
           now() - (100000 - n) * interval '1 s', '', CASE WHEN n < 5000 AND n %% 2 = 0 THEN 5 ELSE 0 END
    FROM generate_series(0, 99999) AS n
    """,
    """
    INSERT INTO outbox (model, sequence, webhook, event, created, attempts, due, error, refused)
    SELECT 'm' || n::text, 1, 'zoo, which the settings do not name', %(event)s, now(), 0, now(), '', 0
    FROM generate_series(0, 4) AS n
    """,
    # All were refused too often, and none is due.
    """
    INSERT INTO outbox (model, sequence, webhook, event, created, attempts, due, error, refused)
    SELECT 'm' || (n %% 100)::text, div(n, 100), 'sick', %(event)s, now() - (20000 - n) * interval '1 ms', 5,
           now() + interval '1 d', '', 5
    FROM generate_series(0, 19999) AS n
    """,
)
"""Of a receiver that is dead for long, of one that nobody tells any more, and of one that takes nothing."""
_AGED: Final = (
    "UPDATE rollouts SET ended = now() - interval '3 d' WHERE number > 1000",
    """
    INSERT INTO analyses (model, rollout, sequence, recorded, payload)
    SELECT model, number, 1, now() - CASE WHEN number %% 100 = 0 THEN interval '2 d' ELSE interval '0 d' END, ''
    FROM rollouts WHERE number > 1000
    """,
    "UPDATE requests SET created = now() - interval '8 d' WHERE principal = 'old' AND request_id LIKE '%%01'",
)
"""Some looks and answers that are to be forgotten, and many that are not."""
_STATES: Final = (
    # Segments that have had lanes of their own.
    """
    INSERT INTO lane_versions (model, segment, version, state, since)
    SELECT 'm', 'segment-' || n::text, 'old1', 'DEPRECATED', now() FROM generate_series(1, 2000) AS n
    """,
    # Most of what failed has left no trace but a few versions, of long ago.
    "UPDATE lane_versions SET state = 'DEPRECATED' WHERE state = 'FAILED' AND version NOT LIKE '%%000'",
    # What is stable and under test has been for long, while others came and went.
    "UPDATE state_history SET noted = noted - interval '2 d' WHERE sequence < 1000",
)
_FLEET: Final = (
    """
    INSERT INTO readiness (instance_id, model, version, traffic, address, state, error, error_code, load_report, ready,
                           since)
    SELECT 'i' || n::text, 'm' || (n %% 100)::text, 'v1', 'LIVE', '', 'READY', '', '', '', true, now()
    FROM generate_series(1, 5000) AS n
    """,
)
"""Workers of a hundred other models."""


_OLD: Final = "UPDATE outbox SET created = created - interval '500 d' WHERE webhook = 'dead' AND sequence < 500"


def fill(database: str) -> None:
    """Gives a database that `benchmarks.grown` has filled what else is kept.

    Args:
        database: its URL; no Registry may run on it.
    """
    values = {"event": resources_pb2.Event(model="m0", sequence=1).SerializeToString()}
    with _connected(database) as connection:
        for statement in (*_EVENTS, *_BACKLOG, *_AGED, *_STATES, *_FLEET):
            connection.execute(statement.encode(), values)


def grow_old(database: str) -> None:
    """Leaves more that nobody took than is forgotten at a time."""
    with _connected(database) as connection:
        connection.execute(_OLD.encode())


def _connected(database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(dsn(database), autocommit=True)
