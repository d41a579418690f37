"""A database's URL as psycopg takes it, and whether the database is a CockroachDB: for both the URL is the same."""

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url


def dsn(url: str) -> str:
    """What SQLAlchemy makes of the URL: psycopg itself would take the last of several hosts for all of them."""
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    _, parameters = parsed.get_dialect()().create_connect_args(parsed)
    return make_conninfo(**parameters)


def is_cockroach(url: str) -> bool:
    """Whether the server says that it is one."""
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        return "CockroachDB" in str(connection.execute("SELECT version()").fetchone())
