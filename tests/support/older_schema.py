"""Databases with the schema of an earlier release, and what that release writes: no column that it does not know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql

import registry.database
from benchmarks.dsn import dsn
from registry.database.engine import open_engine, parse_url

_OF_MIGRATIONS = {"alembic_version", "schema_release"}
_COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
_KEYS = (
    "SELECT table_name, column_name FROM information_schema.key_column_usage k "
    "JOIN information_schema.table_constraints c USING (constraint_schema, table_name, constraint_name) "
    "WHERE c.constraint_type = 'PRIMARY KEY' AND k.table_schema = current_schema()"
)


def migrate_to(url: str, revision: str) -> None:
    """Brings a database to the schema of a revision, as the release did whose newest one it was."""
    config = Config()
    config.set_main_option("script_location", str(Path(registry.database.__path__[0]) / "migrations"))
    engine = open_engine(parse_url(url), 1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


@dataclass(frozen=True, slots=True)
class OlderRelease:
    """A release, as its tables show it.

    Attributes:
        columns: of each table.
        keys: of each table, the columns of its primary key.
    """

    columns: dict[str, list[str]]
    keys: dict[str, list[str]]

    @classmethod
    def of(cls, url: str) -> Self:
        """The one whose schema a database has now."""
        columns: dict[str, list[str]] = {}
        keys: dict[str, list[str]] = {}
        with psycopg.connect(dsn(url)) as connection:
            for query, found in ((_COLUMNS, columns), (_KEYS, keys)):
                for table, column in connection.execute(query.encode()):
                    if table not in _OF_MIGRATIONS:
                        found.setdefault(table, []).append(column)
        return cls(columns, keys)

    def write(self, source: str, target: str) -> dict[str, int]:
        """Writes to a database what another one holds, and nothing in columns of later releases; rows by table."""
        written = {}
        with psycopg.connect(dsn(source)) as reading, psycopg.connect(dsn(target)) as writing:
            for table, columns in self.columns.items():
                names = sql.SQL(", ").join(map(sql.Identifier, columns))
                rows = reading.execute(sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(table))).fetchall()
                changed = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in columns)
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
                    sql.Identifier(table),
                    names,
                    sql.SQL(", ").join(sql.Placeholder() * len(columns)),
                    sql.SQL(", ").join(map(sql.Identifier, self.keys[table])),
                    changed,
                )
                with writing.cursor() as cursor:
                    cursor.executemany(statement, rows)
                written[table] = len(rows)
        return written
