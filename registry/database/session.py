"""What a transaction says to the database: questions one by one, and what it only writes all at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import psycopg
from sqlalchemy import (
    Connection,
    CursorResult,
    Executable,
    Select,
    Table,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import UpdateBase

from registry.database.columns import at
from registry.ports import DoneBefore, Stale

Values = Mapping[str, Any]
_COMBINATIONS: Final = 512
"""Kinds of transitions change the same columns again and again: a few dozen combinations."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A statement that writes one row and answers nothing, without its values.

    Attributes:
        table: where.
        columns: what is written.
        seen: columns that must be as they were read in the row of the same key; none: the row is new.
        once: that there is such a row already means that all of this was done before.
    """

    table: Table
    columns: tuple[str, ...]
    seen: tuple[str, ...] = ()
    once: bool = False

    def statement(self, prefix: str) -> UpdateBase:
        """The statement, the names of its parameters beginning with the prefix."""
        of = self.table.columns
        written = {name: bindparam(f"{prefix}{name}", type_=of[name].type) for name in self.columns}
        if not self.seen:
            # Nobody reads it, but CockroachDB refuses what stands in WITH and gives no columns.
            return insert(self.table).values(written).returning(next(iter(self.table.primary_key)))
        before = (of[name] == bindparam(f"{prefix}at_{name}", type_=of[name].type) for name in self.seen)
        return update(self.table).where(*before).values(written).returning(of[self.seen[0]])


@dataclass(slots=True)
class _Write:
    shape: _Shape
    values: Values
    name: str = ""


class Session:
    """A connection within a transaction.

    A way to the database and back costs more than what is done there, and a transition writes four tables or more. So
    what is only written is kept until something is asked, which may depend on it, or until the transaction ends, and
    goes as one statement: WITH … AS (UPDATE …), … AS (INSERT …) SELECT …. A table is in it once, so that the order
    within it does not matter.

    Args:
        connection: of the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pending: list[_Write] = []

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Runs a statement, after what was written before it."""
        self.flush()
        return self._connection.execute(statement, values)

    def add(self, table: Table, values: Values, *, once: bool = False) -> None:
        """Writes a new row; what it violates shows when it is sent.

        Args:
            table: where.
            values: its columns.
            once: that there is such a row already means that all of this was done before.
        """
        self._keep(_Write(_Shape(table, tuple(values), once=once), values))

    def change(self, table: Table, seen: Values, before: Values, after: Values, name: str) -> None:
        """Compares and sets a row; that it has changed since it was read shows when it is sent.

        Args:
            table: where.
            seen: the row's key, and columns that have to be as they were read.
            before: the columns that may change, as they were read; only those that differ are written.
            after: as they are to be.
            name: what has changed if it did.
        """
        written = {column: value for column, value in after.items() if value != before[column]}
        if not written:
            return
        shape = _Shape(table, tuple(written), tuple(seen))
        self._keep(_Write(shape, at(**seen) | written, name))

    def flush(self) -> None:
        """Sends what was written.

        Raises:
            Stale: a row has changed since it was read.
            DoneBefore: what is to be done once was done.
        """
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        values = {f"w{place}_{key}": value for place, one in enumerate(pending) for key, value in one.values.items()}
        shapes = tuple(one.shape for one in pending)
        try:
            *counts, _ = self._connection.execute(_together(shapes), values).one()
        except IntegrityError as error:
            violated = error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None
            if violated in {shape.table.primary_key.name for shape in shapes if shape.once}:
                raise DoneBefore from error
            raise
        compared = (one.name for one in pending if one.shape.seen)
        for name, count in zip(compared, counts, strict=True):
            if not count:
                raise Stale(name)

    def _keep(self, write: _Write) -> None:
        if any(one.shape.table is write.shape.table for one in self._pending):
            self.flush()
        self._pending.append(write)


@lru_cache(maxsize=_COMBINATIONS)
def _together(shapes: tuple[_Shape, ...]) -> Select[Any]:
    """All of them as one statement: how many rows each that compares has found, in their order, and a 1."""
    parts = [shape.statement(f"w{place}_").cte(f"w{place}") for place, shape in enumerate(shapes)]
    counts = [
        select(func.count()).select_from(part).scalar_subquery()
        for part, shape in zip(parts, shapes, strict=True)
        if shape.seen
    ]
    return select(*counts, literal_column("1")).add_cte(*parts)
