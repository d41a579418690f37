"""The Registries' connections as their database sees them: cut, and known to be quiet."""

import asyncio
import random
from abc import ABC, abstractmethod
from typing import Any

import psycopg

from benchmarks.dsn import dsn, is_cockroach

_QUIET_POLLS = 15
_POLL_SECONDS = 0.1


class Sessions(ABC):
    """What a database knows of the Registries that are connected to it.

    Args:
        url: the database's.
    """

    _ACTIVITY: str
    """Asks for something that changes when anything is written, and how many have been at work for half a second."""

    def __init__(self, url: str) -> None:
        self._url = dsn(url)

    @abstractmethod
    def end(self, share: float = 1.0) -> int:
        """Ends each connection with the probability `share`; how many it ended."""

    def activity(self) -> tuple[object, int]:
        """Something that changes when anything is written, and how many have been at work for half a second."""
        with self._connect() as connection:
            row = connection.execute(self._ACTIVITY.encode()).fetchone()
        assert row is not None
        written, busy = row
        return written, int(busy)

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._url, autocommit=True)


class PostgresSessions(Sessions):
    """Of one database of a PostgreSQL."""

    # The end of the log: the replicas' own polling writes nothing.
    _ACTIVITY = (
        "SELECT pg_current_wal_lsn(), (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'crossfade-registry' AND state <> 'idle' "
        "AND xact_start < clock_timestamp() - interval '0.5 s')"
    )

    def end(self, share: float = 1.0) -> int:
        """Ends each connection with the probability `share`; how many it ended."""
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'crossfade-registry' AND random() < %s"
        )
        with self._connect() as connection:
            row = connection.execute(query, (share,)).fetchone()
        return int(row[0]) if row else 0


class CockroachSessions(Sessions):
    """Of a whole CockroachDB, which does not tell what database a session is in: it serves these tests alone.

    The URL's user may see and cancel sessions.
    """

    _ACTIVITY = (
        "SELECT (SELECT sum(event_sequence) FROM models), (SELECT count(*) FROM [SHOW CLUSTER SESSIONS] "
        "WHERE application_name = 'crossfade-registry' AND active_queries <> '' "
        "AND oldest_query_start < now() - INTERVAL '0.5 s')"
    )

    def end(self, share: float = 1.0) -> int:
        """Ends each connection with the probability `share`; how many it ended."""
        found = "SELECT session_id FROM [SHOW CLUSTER SESSIONS] WHERE application_name = 'crossfade-registry'"
        with self._connect() as connection:
            chosen = [row for row in connection.execute(found).fetchall() if random.random() < share]
            for row in chosen:
                # It takes no parameters; one that has ended by itself is no error.
                connection.execute(f"CANCEL SESSION IF EXISTS '{row[0]}'".encode())
        return len(chosen)


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
