"""What columns and constraints are made of."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CheckConstraint, text
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
