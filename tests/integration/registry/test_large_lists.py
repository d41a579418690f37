"""Lists whose rows together are larger than a message: each page holds what fits, and its token leads to the rest."""

from typing import Any

import psycopg
import pytest

from crossfade.connection import MESSAGE_LIMIT
from crossfade.registry.v1 import service_pb2
from tests.integration.registry.harness import Registry

ROWS = 600
OCTETS = 30_000
assert ROWS * OCTETS > MESSAGE_LIMIT

LISTS: dict[str, tuple[Any, str, dict[str, str]]] = {
    "models": (service_pb2.ListModelsRequest(), "models", {"model": "'n' || n", "description": "large"}),
    "versions": (
        service_pb2.ListVersionsRequest(parent="models/m"),
        "versions",
        {"version": "'w' || n", "number": "100 + n", "description": "large"},
    ),
    "rollouts": (
        service_pb2.ListRolloutsRequest(parent="models/m"),
        "rollouts",
        {"number": "100 + n", "state": "'CANCELLED'", "note": "large"},
    ),
    "events": (
        service_pb2.ListEventsRequest(parent="models/m"),
        "events",
        {"sequence": "100 + n", "reason": "large"},
    ),
    "instances": (service_pb2.ListInstancesRequest(), "instances", {"instance_id": "'i' || n"}),
}
"""The request, the table, and what the copies of a row of that table have for themselves."""


def columns_of(connection: "psycopg.Connection[tuple[object, ...]]", table: str) -> list[str]:
    """Names of a table's columns."""
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND table_schema = 'public'"
    return [str(name) for (name,) in connection.execute(query, (table,)).fetchall()]


def multiply(
    connection: "psycopg.Connection[tuple[object, ...]]", table: str, changed: dict[str, str], rows: int = ROWS
) -> None:
    """Adds copies of one of a table's rows."""
    columns = columns_of(connection, table)
    values = ", ".join(f"{changed[name]} AS {name}" if name in changed else f"one.{name}" for name in columns)
    copies = f"SELECT {values} FROM one, numbers, long"  # noqa: S608 - our own names
    statement = (
        f"WITH one AS (SELECT * FROM {table} LIMIT 1), numbers AS (SELECT n FROM generate_series(1, {rows}) n), "  # noqa: S608
        f"long AS (SELECT repeat('x', {OCTETS}) AS large) INSERT INTO {table} ({', '.join(columns)}) {copies}"
    )
    connection.execute(statement.encode())


@pytest.mark.postgres_only
@pytest.mark.parametrize("listed", LISTS)
async def test_every_row_comes(
    registry: Registry, shared_database: "psycopg.Connection[tuple[object, ...]]", listed: str
) -> None:
    await registry.running()
    wanted, table, changed = LISTS[listed]
    multiply(shared_database, table, changed)
    if listed == "instances":
        one = {"instance_id": "'i' || n", "error": "large"}
        multiply(shared_database, "readiness", one)
    request = type(wanted)()
    request.CopyFrom(wanted)
    request.page_size = 1000
    names: list[str] = []
    sizes: list[int] = []
    while True:
        page = await getattr(registry.stub, f"List{listed.title()}")(request)
        rows = getattr(page, listed)
        names += [str(getattr(row, "name", "") or getattr(row, "sequence", "") or row.instance_id) for row in rows]
        sizes.append(page.ByteSize())
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert len(names) == len(set(names)) >= ROWS
    assert sum(sizes) > MESSAGE_LIMIT
    assert max(sizes) < MESSAGE_LIMIT * 0.6
