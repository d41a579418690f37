"""The oldest rows of a table, removed so many at a time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, delete, literal, select, tuple_

from registry.database.session import Session


def remove_oldest(
    session: Session,
    time: Column[Any],
    times: Sequence[float],
    which: ColumnElement[bool],
    returning: Sequence[Column[Any]],
) -> list[Row[Any]]:
    """Removes the oldest rows of those that a condition tells, as many as there are times.

    `DELETE … WHERE key IN (SELECT … LIMIT …)` would be a join: a database that takes the table for nearly empty, as it
    was a minute ago, reads one side of it again for each row of the other, and 30,000 rows take longer than a statement
    may.

    Args:
        session: the transaction's.
        time: the column that says how old rows are; an index tells its order.
        times: theirs, as just read, in order.
        which: the condition.
        returning: what is answered of those that were removed.
    """

    def remove(*further: ColumnElement[bool]) -> list[Row[Any]]:
        return list(session.execute(delete(time.table).where(which, *further).returning(*returning)))

    if not times:
        return []
    first, last = times[0], times[-1]
    gone = remove(time >= first, time < last) if first < last else []
    # Of the last moment there may be more than these: all of one transaction have the same.
    key = tuple(time.table.primary_key)
    in_order = select(*key).where(which, time == last).order_by(*key)
    end = session.execute(in_order.offset(times.count(last) - 1).limit(1)).one()
    values = (literal(value, column.type) for value, column in zip(end, key, strict=True))
    return gone + remove(time == last, tuple_(*key) <= tuple_(*values))
