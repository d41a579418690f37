"""Schemas: migrated, refused when older or newer, and the same as the tables that the code knows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from registry.database.engine import open_engine, parse_url
from registry.database.migrations.versions import r0001_tables, r0003_history
from registry.database.schema import REVISIONS, SchemaError, check, migrate
from registry.database.tables import METADATA
from services.common.release import release


@pytest.fixture
def empty(empty_database: str) -> Iterator[Engine]:
    engine = open_engine(parse_url(empty_database), 3)
    yield engine
    engine.dispose()


@pytest.fixture
def migrated(own_database: str) -> Iterator[Engine]:
    engine = open_engine(parse_url(own_database), 3)
    yield engine
    engine.dispose()


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_an_empty_database_is_refused_and_migrated(empty: Engine) -> None:
    with pytest.raises(SchemaError, match=r"schema none .* run `crossfade registry migrate`"):
        check(empty)
    assert migrate(empty) is None
    check(empty)
    assert migrate(empty) == REVISIONS[-1]


def test_an_older_schema_is_refused(migrated: Engine) -> None:
    execute(migrated, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(SchemaError, match=r"schema 0001 .* run `crossfade registry migrate`"):
        check(migrated)
    migrate(migrated)
    check(migrated)


def test_a_newer_schema_is_refused(migrated: Engine) -> None:
    execute(migrated, "UPDATE alembic_version SET version_num = '9999'")
    newest = REVISIONS[-1]
    # Two builds of one release may know different schemas.
    for wrote, said in (("7.0.0", "7.0.0"), (release(), f"the later build of {release()}")):
        with migrated.begin() as connection:
            connection.execute(text("UPDATE schema_release SET release = :wrote"), {"wrote": wrote})
        for refuse in (check, migrate):
            with pytest.raises(SchemaError) as error:
                refuse(migrated)
            assert str(error.value) == (
                f"the database has schema 9999 and this Registry, of crossfade {release()}, knows none after {newest}: "
                f"upgrade crossfade to what migrated the database, {said}"
            )


def test_a_migration_may_take_longer_than_any_statement_of_a_registry(empty: Engine) -> None:
    """An index over millions of rows does."""
    limits: list[str] = []

    def note(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().startswith("CREATE INDEX"):
            limits.append(cursor.connection.execute("SHOW statement_timeout").fetchone()[0])

    event.listen(empty, "before_cursor_execute", note)
    migrate(empty)
    assert set(limits) == {"0"}
    with empty.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() in ("30s", "30000")


# CockroachDB takes 30 seconds for it, and on a busy machine two minutes.
@pytest.mark.timeout(400)
def test_a_migration_that_is_killed_at_any_statement_is_run_again(empty: Engine, empty_database: str) -> None:
    command = [sys.executable, "-m", "tests.support.migrate_killed", empty_database]
    done = subprocess.run(command, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stderr
    # Every statement of the migrations, and those that Alembic and the schema's row take.
    assert int(done.stdout) > len(r0001_tables.STATEMENTS) + len(r0003_history.STATEMENTS)
    check(empty)


def test_replicas_may_migrate_at_the_same_time(empty: Engine, empty_database: str) -> None:
    command = [sys.executable, "-m", "registry", "migrate"]
    environment = os.environ | {"CROSSFADE_DATABASE": empty_database}
    # Processes of their own, for Alembic keeps what it does in globals.
    migrating = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [one.wait(60) for one in migrating] == [0, 0]
    check(empty)


def test_a_column_that_another_session_adds_is_waited_for(empty: Engine) -> None:
    # What CockroachDB answers until the column is there, however long that takes.
    left = iter(range(12))

    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ADD COLUMN" in statement and next(left, None) is not None:
            raise DBAPIError(statement, {}, psycopg.errors.DuplicateColumn("in the middle of being added"))

    event.listen(empty, "before_cursor_execute", refuse)
    migrate(empty)
    assert next(left, None) is None
    check(empty)


def test_an_index_that_is_not_there_is_built(migrated: Engine) -> None:
    execute(migrated, "DROP INDEX outbox_heads")
    migrate(migrated)
    execute(migrated, "DROP INDEX outbox_heads")


@pytest.mark.postgres_only
def test_the_schema_is_the_one_of_the_tables(database: str) -> None:
    # Reflection needs PostgreSQL's own dialect.
    engine = create_engine(make_url(database).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, METADATA)
    engine.dispose()
    assert found == []


def test_lanes_are_guarded_by_the_database_too(migrated: Engine) -> None:
    insert = (
        "INSERT INTO lane_versions (model, segment, version, state, since) VALUES ('m', '', '{0}', '{1}', '2024-01-01')"
    )
    execute(migrated, insert.format("v1", "STABLE"))
    # CockroachDB tells the condition that is broken, and not its name.
    for state, what in (
        ("STABLE", "lane_versions_one_stable"),
        ("NONE", "lane_versions_state|CHECK constraint .state"),
    ):
        with pytest.raises(Exception, match=what):
            execute(migrated, insert.format("v2", state))


def test_a_database_that_is_not_there() -> None:
    engine = open_engine(parse_url("postgresql://nobody@127.0.0.1:1/none"), 1)
    with pytest.raises(SchemaError, match=r"does not answer .*CROSSFADE_DATABASE"):
        check(engine)
    engine.dispose()


def test_another_applications_tables_are_left_alone(empty: Engine) -> None:
    execute(empty, "CREATE TABLE models (id INT PRIMARY KEY)")
    for refuse in (check, migrate):
        with pytest.raises(
            SchemaError, match=r"another application's tables .*\(models\): give the Registry a database"
        ):
            refuse(empty)
    with empty.connect() as connection:
        there = text("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")
        assert list(connection.scalars(there)) == ["models"]


@pytest.mark.parametrize("revision", ["8c1f0e5d2b7a", "0001"])
def test_a_database_that_another_application_migrates_is_left_alone(empty: Engine, revision: str) -> None:
    execute(empty, "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})
    for refuse in (check, migrate):
        with pytest.raises(SchemaError, match=f"is another application's, with schema {revision} .* of its own"):
            refuse(empty)


@pytest.mark.postgres_only
def test_a_database_that_nobody_made_is_no_silence_of_the_server(empty_database: str) -> None:
    # Others than PostgreSQL may let in whoever names a database that is not there.
    engine = open_engine(parse_url(empty_database).set(database="nobody_made_it"), 1)
    for refuse in (check, migrate):
        with pytest.raises(
            SchemaError, match=r'server refuses \(database "nobody_made_it" does not exist\): .*migration'
        ):
            refuse(engine)
    engine.dispose()
