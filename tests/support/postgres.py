"""A real PostgreSQL for the whole run, and an empty database for each test that asks for one.

With CROSSFADE_TEST_DATABASE (`make test-cockroach`), the server of that URL instead.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.given_server import GivenServer
from services.local.postgres import Postgres

Server = Postgres | GivenServer

# A server that was given is one for all processes that run tests.
_PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "")
_TEMPLATE = f"crossfade_template{_PROCESS}"
_SHARED = f"crossfade_test{_PROCESS}"
_KEPT = {"schema_release", "route_clock"}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lives for the run; nothing of it survives a crash, which makes it fast."""
    if given := os.environ.get("CROSSFADE_TEST_DATABASE"):
        yield GivenServer(given)
        return
    fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
    folder: Path = tmp_path_factory.mktemp("postgres")
    with Postgres(folder, fast) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: Server) -> str:
    """The name of a database with the present schema, to be copied."""
    # Imported here so that a run without database tests does not load SQLAlchemy.
    from registry.database.engine import open_engine, parse_url
    from registry.database.schema import migrate

    postgres.create_database(_TEMPLATE)
    engine = open_engine(parse_url(postgres.url(_TEMPLATE)), 1)
    try:
        migrate(engine)
    finally:
        engine.dispose()
    return _TEMPLATE


@pytest.fixture(scope="session")
def shared_database(postgres: Server, migrated_template: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection to the database that the tests use one after the other: copying one takes a quarter of a second."""
    postgres.create_database(_SHARED, template=migrated_template)
    with postgres.connect(_SHARED) as connection:
        yield connection


@pytest.fixture
def database(postgres: Server, shared_database: psycopg.Connection[tuple[object, ...]]) -> str:
    """The URL of a database with the present schema and no rows but the route clock's."""
    from registry.database.tables import METADATA

    if isinstance(postgres, Postgres):
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        shared_database.execute(others, (_SHARED,))
    emptying = [f"DELETE FROM {name}" for name in sorted(METADATA.tables.keys() - _KEPT)]  # noqa: S608 - our own names
    emptying.append("UPDATE route_clock SET revision = 0, compacted = 0 WHERE id = 1")
    shared_database.execute("; ".join(emptying).encode())
    return postgres.url(_SHARED)


@pytest.fixture
def own_databases(postgres: Server, migrated_template: str) -> Iterator[Callable[[], str]]:
    """Makes databases with the present schema, each for one use, and answers their URLs."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        postgres.create_database(made[-1], template=migrated_template)
        return postgres.url(made[-1])

    yield make
    for name in made:
        postgres.drop_database(name)


@pytest.fixture
def own_database(own_databases: Callable[[], str]) -> str:
    """The URL of a database with the present schema, for a test that changes the schema."""
    return own_databases()


@pytest.fixture
def empty_database(postgres: Server) -> Iterator[str]:
    """The URL of a database without any table."""
    name = f"test_{uuid.uuid4().hex}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)
