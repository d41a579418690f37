"""A database's URL as psycopg takes it, and whether the database is a CockroachDB: for both the URL is the same."""

import psycopg
from sqlalchemy import make_url


def dsn(url: str) -> str:
    """The URL without SQLAlchemy's dialect."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def is_cockroach(url: str) -> bool:
    """Whether the server says that it is one."""
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        return "CockroachDB" in str(connection.execute("SELECT version()").fetchone())
