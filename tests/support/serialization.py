"""A database that cannot serialize what it is asked to carry out, whenever a test says so."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

COMMIT: Final = "COMMIT"
_WRITES: Final = re.compile(r"\b(?:INSERT INTO|DELETE FROM)\b")
"""An UPDATE may be a question as well: whether there is such a row."""


class Serialization:
    """What is sent to a database by threads of one name, and refused where it is to be.

    Args:
        threads: how their names begin; others are left alone.

    Attributes:
        sent: statements and COMMITs, in their order, since `refuse` or `refuse_commits` was called.
        refused: how many of them were not carried out.
    """

    def __init__(self, threads: str) -> None:
        self._threads = threads
        self._place = 0
        self._commits = False
        self._transaction = threading.local()
        self.sent: list[str] = []
        self.refused = 0

    def refuse(self, place: int) -> None:
        """Refuses what is sent as the `place`th from now on, once; 0: nothing."""
        self._place, self._commits = place, False
        self.sent, self.refused = [], 0

    def refuse_commits(self) -> None:
        """Refuses every COMMIT of what has written rows, from now on."""
        self.refuse(0)
        self._commits = True

    def on_begin(self, _connection: Any) -> None:
        """SQLAlchemy's event begin."""
        self._transaction.writes = False

    def on_statement(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        """SQLAlchemy's event before_cursor_execute."""
        self._transaction.writes |= _WRITES.search(statement) is not None
        self._send(statement, refused=False)

    def on_commit(self, _connection: Any) -> None:
        """SQLAlchemy's event commit."""
        self._send(COMMIT, refused=self._commits and self._transaction.writes)

    def _send(self, statement: str, *, refused: bool) -> None:
        if not threading.current_thread().name.startswith(self._threads):
            return
        self.sent.append(statement)
        if refused or len(self.sent) == self._place:
            self.refused += 1
            raise DBAPIError(statement, {}, psycopg.errors.SerializationFailure("could not serialize access"))


@contextmanager
def serialization(engine: Engine, threads: str) -> Iterator[Serialization]:
    """An engine's database that carries everything out, until it is told otherwise."""
    made = Serialization(threads)
    heard: dict[str, Callable[..., None]] = {
        "begin": made.on_begin,
        "before_cursor_execute": made.on_statement,
        "commit": made.on_commit,
    }
    for name, hear in heard.items():
        event.listen(engine, name, hear)
    try:
        yield made
    finally:
        for name, hear in heard.items():
            event.remove(engine, name, hear)
