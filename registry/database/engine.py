"""The connection to the database: one dialect, SERIALIZABLE, and nothing that waits for ever."""

import math
import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, Dialect, Engine, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from registry.database.failures import NO_CHANGES

DRIVER: Final = "cockroachdb+psycopg"
_ACCEPTED: Final = frozenset({DRIVER, "cockroachdb", "postgresql", "postgres"})

T = TypeVar("T")

_SILENT_SECONDS: Final = 35.0
"""A server that lives has ended any statement by then, and said so."""
_CONNECT: Final[Mapping[str, object]] = {
    "connect_timeout": 5,
    # A peer that is gone is noticed, and a process that stands still lets go of what it holds.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    # PostgreSQL reads a small table whole, and then its serializable transactions conflict with every writer of that
    # table; CockroachDB takes the setting and does nothing about it.
    "options": ("-c enable_seqscan=off -c statement_timeout=30000 -c idle_in_transaction_session_timeout=15000"),
    "application_name": "crossfade-registry",
}


class _Cursor(psycopg.Cursor[Any]):
    """A cursor whose description costs little.

    SQLAlchemy asks each result for it and uses names and types alone; the objects that psycopg makes of the 63 columns
    that a transition reads took a tenth of the transition's processor time.
    """

    @property
    def description(self) -> Any:
        """Of each column its name, the number of its type, and what PEP 249 allows to be unknown."""
        result = self.pgresult
        if result is None or not result.nfields:
            return super().description
        return [
            ((result.fname(place) or b"").decode(), result.ftype(place), None, None, None, None, None)
            for place in range(result.nfields)
        ]


class _Connection(psycopg.Connection[Any]):
    """A connection that is given up when nothing comes by it.

    Something between may acknowledge what it hands on to nobody, and so does a machine for a server that stands still:
    no keepalive fails then, and a thread that waited would wait for ever.

    Attributes:
        silent_seconds: for so long nothing may come while something is awaited.
    """

    silent_seconds = _SILENT_SECONDS

    def wait(self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """What the server answers, as psycopg waits for it.

        Raises:
            psycopg.OperationalError: it says nothing.
        """
        return super().wait(self._heard(gen), *args, **named)

    def _heard(self, answer: PQGen[T]) -> PQGen[T]:
        until = time.monotonic() + self.silent_seconds
        try:
            awaited = next(answer)
            while True:
                if ready := (yield awaited):
                    until = time.monotonic() + self.silent_seconds
                elif time.monotonic() > until:
                    self.close()
                    raise psycopg.OperationalError(f"nothing was heard of the server for {self.silent_seconds:g} s")
                awaited = answer.send(ready)
        except StopIteration as done:
            return cast("T", done.value)


class DatabaseUrlError(ValueError):
    """The database's URL cannot be used; the message says how it has to look."""


def parse_url(text: str) -> URL:
    """The URL with our dialect.

    Raises:
        DatabaseUrlError: it is no URL, or of another kind of database.
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise DatabaseUrlError(
            "CROSSFADE_DATABASE is not a URL: write cockroachdb+psycopg://USER@HOST:26257/DATABASE"
        ) from error
    if url.drivername not in _ACCEPTED:
        raise DatabaseUrlError(
            f"CROSSFADE_DATABASE names {url.drivername}; the Registry keeps its truth in CockroachDB or PostgreSQL: "
            "write cockroachdb+psycopg://USER@HOST:26257/DATABASE for both"
        )
    return url.set(drivername=DRIVER)


def open_engine(url: URL, connections: int, *, silent_seconds: float = _SILENT_SECONDS) -> Engine:
    """An engine with at most `connections` connections; none is opened yet.

    Args:
        url: with our dialect.
        connections: at most so many.
        silent_seconds: for so long a server may say nothing of what it is asked.
    """

    def connect(_dialect: Dialect, _record: object, args: tuple[Any, ...], named: dict[str, Any]) -> _Connection:
        made = _Connection.connect(*args, **named)
        made.silent_seconds = silent_seconds
        return made

    engine = create_engine(
        url,
        isolation_level="SERIALIZABLE",
        pool_size=connections,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        # The connection used last has its statements prepared, and its server process is warm.
        pool_use_lifo=True,
        connect_args={**_CONNECT, "cursor_factory": _Cursor},
    )
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "handle_error", _let_go)
    return engine


def lift_limits(connection: Connection) -> None:
    """Lets statements of this connection take as long as they may, which nobody else is to use any more."""
    connection.detach()
    session = connection.connection.dbapi_connection
    if isinstance(session, _Connection):
        session.silent_seconds = math.inf
    connection.execute(text("SET statement_timeout = 0"))


def refuse_standby(connection: Connection) -> None:
    """Lets go of a connection to a hot standby, before it is asked for what may be long past.

    To be serialized is what a standby refuses by itself; a statement alone, which is not, it answers.

    Raises:
        DBAPIError: as where a standby is told to change something, of a connection that is let go.
    """
    if _is_standby(connection.connection.dbapi_connection):
        connection.invalidate()
        refused = psycopg.errors.ReadOnlySqlTransaction("the server is a hot standby")
        raise DBAPIError(None, None, refused, connection_invalidated=True)


def _let_go(context: ExceptionContext) -> None:
    """Lets go of connections to a hot standby, which a pool would keep for half an hour after a failover."""
    cause, connection = context.original_exception, context.connection
    if not isinstance(cause, psycopg.Error) or cause.sqlstate not in NO_CHANGES or connection is None:
        return
    if _is_standby(connection.connection.dbapi_connection):
        context.is_disconnect = True


def _is_standby(session: object) -> bool:
    return isinstance(session, psycopg.Connection) and session.info.parameter_status("in_hot_standby") == "on"
