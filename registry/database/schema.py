"""Which schema a database has, which one this release needs, and the way from one to the other."""

import random
import time
from pathlib import Path
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex

from registry.database.engine import lift_limits
from registry.database.failures import DATABASE_ERRORS, UNDEFINED_TABLE, Failure, classify, sqlstate
from registry.database.tables import METADATA, schema_release
from services.common.release import release

REVISIONS: Final = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
)
"""Every schema that this release knows, oldest first; the last one is what it needs."""

_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = (0.05, 0.5)
"""Between attempts: two that migrate in step would meet at every statement."""
_VERSIONS: Final = "alembic_version"
# Two that migrate at the same moment can leave a row each. Revisions are in one line, so the newest one counts.
_ONE_ROW: Final = "DELETE FROM alembic_version WHERE version_num < (SELECT max(version_num) FROM alembic_version)"
_EXISTS: Final = frozenset({"42P07", "42710"})
"""Duplicate table and duplicate object: Alembic's own table has no IF NOT EXISTS."""
_UNDERWAY: Final = frozenset({"42701", "55000"})
"""Duplicate column, and object not in prerequisite state: CockroachDB answers so while another session adds the column.
It goes on with that if the session ends."""
_UNDERWAY_SECONDS: Final = 3600.0
"""That a column or an index over many rows may take."""


class SchemaError(Exception):
    """The database cannot be used by this release as it is; the message says what to do, in one line."""


def check(engine: Engine) -> None:
    """Refuses a database whose schema is not this release's.

    Raises:
        SchemaError: the schema is older or newer, or the database does not answer.
    """
    found = _reading(engine)
    if found == REVISIONS[-1]:
        return
    _refuse_others(engine, found)
    if found in (None, *REVISIONS):
        raise SchemaError(
            f"the database has schema {found or 'none'} and this release needs {REVISIONS[-1]}: "
            "run `crossfade registry migrate` (or `python -m registry migrate`)"
        )
    wrote, this = _release(engine), release()
    # Two builds of one release may know different schemas.
    newer = f"the later build of {this}" if wrote == this else wrote
    raise SchemaError(
        f"the database has schema {found} and this Registry, of crossfade {this}, knows none after {REVISIONS[-1]}: "
        f"upgrade crossfade to what migrated the database, {newer}"
    )


def migrate(engine: Engine) -> str | None:
    """Brings the schema to this release's; safe to run again after it was stopped anywhere, and beside others.

    Returns:
        The schema's revision before it; None: it had none.

    Raises:
        SchemaError: the schema is newer than this release, or the database does not answer.
    """
    # Alembic is needed here alone, and a server that runs is the smaller without it.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    overtaken = 0
    until = time.monotonic() + _UNDERWAY_SECONDS
    found = before = _reading(engine)
    while True:
        _refuse_others(engine, found)
        if found not in (None, *REVISIONS):
            check(engine)
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                # An index over millions of rows takes longer than any statement of a Registry may.
                lift_limits(connection)
                if found is not None:
                    connection.execute(text(_ONE_ROW))
                config.attributes["connection"] = connection
                command.upgrade(config, REVISIONS[-1])
                _index(connection, until)
                values = {"version": REVISIONS[-1], "release": release()}
                statement = upsert(schema_release).values(id=1, **values)
                connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
            break
        except CommandError as error:
            # Alembic met the rows of two that migrate; the next try begins with one.
            overtaken += 1
            if overtaken == _ATTEMPTS:
                raise SchemaError(f"the migrations do not fit the database: {error}") from error
        except DATABASE_ERRORS as error:
            # Somebody who migrates at the same moment was faster with a statement; a later try finds it done.
            if not (sqlstate(error) in _UNDERWAY and time.monotonic() < until):
                overtaken += 1
                faster = classify(error) is Failure.RETRY or sqlstate(error) in _EXISTS
                if not faster or overtaken == _ATTEMPTS:
                    raise SchemaError(_describe(error)) from error
        _pause()
        found = _reading(engine)
    return before


def _reading(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar_one()
            return None if found is None else str(found)
    except DATABASE_ERRORS as error:
        if sqlstate(error) == UNDEFINED_TABLE:
            return None
        raise SchemaError(_describe(error)) from error


def _refuse_others(engine: Engine, found: str | None) -> None:
    """Refuses a database in which another application has tables of the Registry's names.

    `CREATE TABLE IF NOT EXISTS` takes them for its own. Alembic's own table comes before all of the Registry's, and the
    row in it after the first of them, so that a migration that was stopped anywhere has left them in that order, and so
    has another that runs at this moment.

    Args:
        engine: of the database.
        found: the schema that it has by Alembic's table.
    """
    named = text("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")
    try:
        with engine.connect() as connection:
            there = set(connection.scalars(named))
    except DATABASE_ERRORS as error:
        raise SchemaError(_describe(error)) from error
    same = sorted(there & set(METADATA.tables))
    if found is not None and schema_release.name not in same:
        raise SchemaError(
            f"the database is another application's, with schema {found} (its table {_VERSIONS} says so): give the "
            "Registry a database of its own"
        )
    if same and _VERSIONS not in there:
        raise SchemaError(
            f"the database has another application's tables under names that the Registry uses ({', '.join(same)}): "
            "give the Registry a database of its own"
        )


def _index(connection: Connection, until: float) -> None:
    """Waits until every index is there: of one that another session builds yet, CockroachDB says that it exists."""
    wanted = {str(index.name): index for table in METADATA.sorted_tables for index in table.indexes}
    there = text("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")
    while missing := sorted(wanted.keys() - set(connection.scalars(there))):
        if time.monotonic() > until:
            raise SchemaError(f"the database builds the index {missing[0]} yet: run the migration again later")
        for name in missing:
            connection.execute(CreateIndex(wanted[name], if_not_exists=True))
        _pause()


def _pause() -> None:
    time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - spreads those who migrate


def _release(engine: Engine) -> str:
    try:
        with engine.connect() as connection:
            return connection.execute(select(schema_release.c.release)).scalar_one_or_none() or "a release unknown here"
    except DATABASE_ERRORS:
        return "a release unknown here"


def _describe(error: Exception) -> str:
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    first = cause.strip().partition("\n")[0]
    if classify(error) is Failure.LOST:
        _, fatal, refused = first.rpartition("FATAL:")
        if fatal:
            return (
                f"the database's server refuses ({refused.strip()}): check CROSSFADE_DATABASE; a database and its user "
                "are made before the migration (docs/deployment.md)"
            )
        return f"the database does not answer ({first}): check CROSSFADE_DATABASE and that the server runs"
    return f"the database refused ({first})"
