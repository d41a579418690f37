"""A real PostgreSQL for the whole run, and a database of its own for each test that asks for one."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.postgres import Postgres

_TEMPLATE = "crossfade_template"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that lives for the run; nothing of it survives a crash, which makes it fast."""
    fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
    folder: Path = tmp_path_factory.mktemp("postgres")
    with Postgres(folder, fast) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> str:
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


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a database without any table."""
    name = f"test_{uuid.uuid4().hex}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def database(postgres: Postgres, migrated_template: str) -> Iterator[str]:
    """The URL of a database with the present schema and no rows but the route clock's."""
    name = f"test_{uuid.uuid4().hex}"
    postgres.create_database(name, template=migrated_template)
    yield postgres.url(name)
    postgres.drop_database(name)
