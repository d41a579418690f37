"""What a call has changed in the tables, told without names, times and what is drawn at random."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from sqlalchemy import LargeBinary

from registry.database.columns import Moment
from registry.database.tables import METADATA

Connection = psycopg.Connection[Any]
Row = tuple[str, tuple[Any, ...]]
"""Of a table: what its columns hold."""
Rows = Counter[Row]
Effect = tuple[Rows, Rows]
"""Rows that are gone, and rows that are new: one that was changed is both."""

_MEASURED: Final = {"step_paused"}
_DRAWN: Final = {"etag", "hash", "previous_hash", "event_hash", "mark", "request_id", "digest", "instance_id"}
_REVISIONS: Final = {"revision", "compacted"}
_FRACTION: Final = re.compile(r"\d+\.\d+")


def read(connection: Connection) -> Rows:
    """Every row of every table, while nobody writes."""
    return Counter(row for table in METADATA.sorted_tables for row in _rows(connection, table.name))


def effect(before: Rows, after: Rows, model: str) -> Effect:
    """What differs, as it would of any other model."""
    base = _revision(before)
    return _told(before - after, model, base), _told(after - before, model, base)


def _rows(connection: Connection, table: str) -> Iterator[Row]:
    query = f"SELECT {', '.join(_names(table))} FROM {table}"  # noqa: S608 - our own names
    return ((table, row) for row in connection.execute(query.encode()))


def _names(table: str) -> list[str]:
    return [column.name for column in METADATA.tables[table].columns]


def _revision(rows: Rows) -> int:
    (values,) = (values for table, values in rows if table == "route_clock")
    return int(values[_names("route_clock").index("revision")])


def _told(rows: Rows, model: str, base: int) -> Rows:
    told: Rows = Counter()
    for (table, values), times in rows.items():
        columns = METADATA.tables[table].columns
        pairs = zip(columns, values, strict=True)
        told[table, tuple((column.name, _word(column, value, model, base)) for column, value in pairs)] += times
    return told


def _word(column: Any, value: Any, model: str, base: int) -> Any:
    if value is None or column.name in _DRAWN | _MEASURED or isinstance(column.type, Moment | LargeBinary):
        return value is None
    if column.name in _REVISIONS and value:
        return value - base
    return _FRACTION.sub("…", value.replace(model, "the model")) if isinstance(value, str) else value
