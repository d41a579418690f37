"""The Registries' connections as their database sees them: cut, and known to be quiet."""

import asyncio
import random
from typing import Any, Protocol

import psycopg

from tests.support.dsn import dsn, is_cockroach

_QUIET_POLLS = 15
_POLL_SECONDS = 0.1


class Sessions(Protocol):
    """What a database knows of the Registries that are connected to it."""

    def end(self, share: float = 1.0) -> int:
        """Ends each connection with the probability `share`; how many it ended."""

    def activity(self) -> tuple[object, int]:
        """Something that changes when anything is written, and how many have been at work for half a second."""


class PostgresSessions:
    """Of one database of a PostgreSQL.

    Args:
        url: the database's.
    """

    def __init__(self, url: str) -> None:
        self._url = dsn(url)

    def end(self, share: float = 1.0) -> int:
        """Ends each connection with the probability `share`; how many it ended."""
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'crossfade-registry' AND random() < %s"
        )
        return int(_one(self._url, query, (share,))[0])

    def activity(self) -> tuple[object, int]:
        """The end of the log (the replicas' own polling writes nothing), and transactions that are not idle."""
        query = (
            "SELECT pg_current_wal_lsn(), (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'crossfade-registry' AND state <> 'idle' "
            "AND xact_start < clock_timestamp() - interval '0.5 s')"
        )
        written, busy = _one(self._url, query)
        return written, int(busy)


class CockroachSessions:
    """Of a whole CockroachDB, which does not tell what database a session is in: it serves these tests alone.

    Args:
        url: a database's; its user may see and cancel sessions.
    """

    def __init__(self, url: str) -> None:
        self._url = dsn(url)

    def end(self, share: float = 1.0) -> int:
        """Ends each connection with the probability `share`; how many it ended."""
        found = "SELECT session_id FROM [SHOW CLUSTER SESSIONS] WHERE application_name = 'crossfade-registry'"
        with psycopg.connect(self._url, autocommit=True) as connection:
            chosen = [row for row in connection.execute(found).fetchall() if random.random() < share]
            for row in chosen:
                # It takes no parameters; one that has ended by itself is no error.
                connection.execute(f"CANCEL SESSION IF EXISTS '{row[0]}'".encode())
        return len(chosen)

    def activity(self) -> tuple[object, int]:
        """All models' numbers of events, and statements that are being carried out."""
        query = (
            "SELECT (SELECT sum(event_sequence) FROM models), (SELECT count(*) FROM [SHOW CLUSTER SESSIONS] "
            "WHERE application_name = 'crossfade-registry' AND active_queries <> '' "
            "AND oldest_query_start < now() - INTERVAL '0.5 s')"
        )
        written, busy = _one(self._url, query)
        return written, int(busy)


def sessions_of(url: str) -> Sessions:
    """The sessions of the database that a URL names."""
    return (CockroachSessions if is_cockroach(url) else PostgresSessions)(url)


async def until_quiet(sessions: Sessions, seconds: float = 40.0) -> None:
    """Waits until the database carries nothing out any more: what a client gave up may come to its end yet."""
    quiet, before = 0, None
    async with asyncio.timeout(seconds):
        while quiet < _QUIET_POLLS:
            written, busy = await asyncio.to_thread(sessions.activity)
            quiet = quiet + 1 if (written, busy) == (before, 0) else 0
            before = written
            await asyncio.sleep(_POLL_SECONDS)


def _one(url: str, query: str, values: tuple[object, ...] = ()) -> tuple[Any, ...]:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return row
