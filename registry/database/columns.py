"""What columns, constraints and conditions are made of."""

from datetime import UTC, datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import CheckConstraint, Column, ColumnElement, Label, Row, Table, and_, bindparam, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TIMESTAMP, TypeDecorator


class Moment(TypeDecorator[float]):
    """Seconds since 1970, kept as a timestamp with time zone: whole microseconds."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        del dialect
        return None if value is None else datetime.fromtimestamp(value, UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> float | None:
        """From the database."""
        del dialect
        return None if value is None else float(value.timestamp())


def among(name: str, column: str, values: Any) -> CheckConstraint:
    """A column that holds one of these values."""
    listed = ", ".join(f"'{value}'" for value in sorted(values))
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def in_states(values: Any) -> Any:
    """The rows of a partial index: those in one of these states."""
    return text("state IN (" + ", ".join(f"'{value}'" for value in sorted(values)) + ")")


def given(*columns: Column[Any]) -> ColumnElement[bool]:
    """The rows whose columns have values that are given when the statement is run, by `at`.

    Statements of every transition are put together once, when their module is read: to put one together and to find it
    among those compiled costs SQLAlchemy as much again as to run it.
    """
    return and_(*(column == bindparam(f"at_{column.name}", type_=column.type) for column in columns))


def given_any(column: Column[Any]) -> ColumnElement[bool]:
    """The rows whose column has one of the values that are given, as a list, when the statement is run."""
    return column.in_(bindparam(f"at_{column.name}", type_=column.type, expanding=True))


def at(**values: Any) -> dict[str, Any]:
    """The values for `given` and `given_any`, by their columns' names; they do not meet those that are written."""
    return {f"at_{name}": value for name, value in values.items()}


def prefixed(table: Table) -> list[Label[Any]]:
    """A table's columns for a question to several tables, whose columns have the same names."""
    return [column.label(f"{table.name}_{column.name}") for column in table.columns]


def part(row: Row[Any], table: Table, first: int) -> Any:
    """What a row has of one of the tables, from a place on, by the names of its columns."""
    names = _names(table)
    return SimpleNamespace(**dict(zip(names, row[first : first + len(names)], strict=True)))


@lru_cache
def _names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)
