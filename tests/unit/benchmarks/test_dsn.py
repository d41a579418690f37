"""A database's URL, as psycopg takes it."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from benchmarks.dsn import dsn


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "cockroachdb+psycopg://ana@/c?host=node1:26257&host=node2:26258&sslmode=disable",
            {"user": "ana", "host": "node1,node2", "port": "26257,26258", "dbname": "c", "sslmode": "disable"},
        ),
        (
            "cockroachdb+psycopg://ana:p%40ss w@127.0.0.1:26257/c",
            {"user": "ana", "password": "p@ss w", "host": "127.0.0.1", "port": "26257", "dbname": "c"},
        ),
        ("postgresql://ana@/c?host=/run/postgres", {"user": "ana", "host": "/run/postgres", "dbname": "c"}),
    ],
)
def test_each_form_of_the_url_is_taken(url: str, said: dict[str, str]) -> None:
    assert conninfo_to_dict(dsn(url)) == said
