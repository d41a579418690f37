"""What a database error means for the transaction: again, outcome unknown, or not our doing."""

from enum import Enum, auto
from typing import Final

from psycopg import errors as pg
from sqlalchemy import exc


class Failure(Enum):
    """What to do about a failed transaction.

    RETRY: it had no effect and may succeed. LOST: the connection is gone; at COMMIT its outcome is unknown.
    UNAVAILABLE: the database cannot do it at present. DEFECT: it is ours to mend.
    """

    RETRY = auto()
    LOST = auto()
    UNAVAILABLE = auto()
    DEFECT = auto()


# Unique violations too: two transactions that found nothing and wrote the same key conflict by it before the database
# notices that they could not be serialized. Another try sees the other's row and answers accordingly.
_RETRY: Final = frozenset({"40001", "40P01", "23505"})
UNCATEGORIZED: Final = "XXUUU"
"""CockroachDB has no code for it. That comes where one of its nodes ends, or a session is cancelled, in the middle of a
statement ("transport is closing", "context canceled"); what else it may be is in the log."""
_NODE_LOST: Final = "58C01"
_LOST: Final = frozenset({"40003", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", UNCATEGORIZED, _NODE_LOST})
_UNAVAILABLE_CLASSES: Final = frozenset({"53", "58"})
DISK_FULL: Final = "53100"
UNDEFINED_TABLE: Final = "42P01"
NO_TABLES: Final = frozenset({"3D000", UNDEFINED_TABLE})
"""No such database, and no such table: seen after the start, when its operator has put another one in its place."""
NO_RIGHTS: Final = "42501"
_STATEMENT_TIMEOUT: Final = "57014"
_READ_ONLY: Final = "25006"
_NOT_SUPPORTED: Final = "0A000"
NO_CHANGES: Final = frozenset({_READ_ONLY, _NOT_SUPPORTED})
"""What a hot standby answers to a change, and to whatever is to be serialized. The engine lets go of connections to it,
as failovers leave them: the next may be to the server that takes changes. On any other a statement is ours to mend."""
_UNAVAILABLE: Final = NO_TABLES | {NO_RIGHTS, _STATEMENT_TIMEOUT, _READ_ONLY}
_CONNECTION_ERRORS: Final = (exc.OperationalError, exc.InterfaceError, pg.OperationalError, pg.InterfaceError)


DATABASE_ERRORS: Final = (exc.SQLAlchemyError, pg.Error)
"""What may be raised: SQLAlchemy sets a connection's isolation with the driver's own calls, and errors."""


def classify(error: Exception) -> Failure:
    """What a failure of a statement, a COMMIT or a connection attempt means."""
    if isinstance(error, exc.TimeoutError):
        return Failure.UNAVAILABLE
    if not isinstance(error, exc.DBAPIError | pg.Error):
        return Failure.DEFECT
    state = sqlstate(error)
    if state in _RETRY:
        return Failure.RETRY
    if state is None:
        # The server said nothing: the connection broke, or was refused.
        invalidated = isinstance(error, exc.DBAPIError) and error.connection_invalidated
        lost = invalidated or isinstance(error, _CONNECTION_ERRORS)
        return Failure.LOST if lost else Failure.DEFECT
    if state in _LOST or state.startswith("08"):
        return Failure.LOST
    if state in NO_CHANGES and isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return Failure.LOST
    if state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE:
        return Failure.UNAVAILABLE
    return Failure.DEFECT


def taken(error: Exception) -> str:
    """The unique key that was taken and its value, in the server's words; empty: it is no such failure."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if not isinstance(cause, pg.UniqueViolation):
        return ""
    return f"{cause.diag.constraint_name}: {cause.diag.message_detail}"


def sqlstate(error: Exception | None) -> str | None:
    """What the server said, as a code of SQL; None: it said nothing."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return cause.sqlstate if isinstance(cause, pg.Error) else None
