"""A database server that somebody else runs, for tests (`make test-cockroach`) and for benchmarks."""

import contextlib

import psycopg
from sqlalchemy import make_url

from benchmarks.dsn import dsn

_CONNECT_SECONDS = 10


class GivenServer:
    """Makes databases of its own on a server, beside the one that the URL names.

    Args:
        url: cockroachdb+psycopg://USER@HOST:26257/DATABASE; the user may create databases.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def url(self, database: str) -> str:
        """The URL of a database on it."""
        return self._url.set(database=database).render_as_string(hide_password=False)

    def connect(self, database: str = "") -> psycopg.Connection[tuple[object, ...]]:
        """A connection; each statement is a transaction."""
        url = self.url(database or self._url.database or "")
        return psycopg.connect(dsn(url), autocommit=True, connect_timeout=_CONNECT_SECONDS)

    def create_database(self, name: str, template: str = "") -> None:
        """Makes a database; one with the present schema, where a template is named: CockroachDB copies none."""
        # Imported here so that a run without database tests does not load SQLAlchemy's dialect.
        from registry.database.engine import open_engine, parse_url
        from registry.database.schema import migrate

        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        if template:
            engine = open_engine(parse_url(self.url(name)), 1)
            try:
                migrate(engine)
            finally:
                engine.dispose()

    def drop_database(self, name: str) -> None:
        """Drops a database, if nobody is connected to it."""
        with self.connect() as connection, contextlib.suppress(psycopg.Error):
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())
