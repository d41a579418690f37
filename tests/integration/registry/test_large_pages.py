"""Lists of large rows: a page reads hardly more of them than it holds, whatever size is asked for."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.service.models import PAGE_ROWS
from registry.sizes import FITTING_BYTES
from tests.integration.registry.harness import Registry, new_id, signature, version
from tests.integration.registry.test_large_lists import columns_of, multiply

pytestmark = pytest.mark.postgres_only
ROWS = 40
OCTETS = 1_000_000
HELD = FITTING_BYTES // OCTETS

LISTS: dict[str, tuple[Any, str, str, dict[str, str]]] = {
    "versions": (
        service_pb2.ListVersionsRequest(parent="models/m"),
        "versions",
        "versions",
        {"version": "'w' || n", "number": "100 + n"},
    ),
    "rollouts": (
        service_pb2.ListRolloutsRequest(parent="models/m"),
        "rollouts",
        "rollouts",
        {"number": "100 + n", "state": "'CANCELLED'"},
    ),
    "rollouts of all models": (
        service_pb2.ListRolloutsRequest(parent="models/-"),
        "rollouts",
        "rollouts",
        {"number": "100 + n", "state": "'CANCELLED'"},
    ),
    "looks": (
        service_pb2.ListAnalysesRequest(parent="models/m/rollouts/1"),
        "analyses",
        "analyses",
        {"sequence": "100 + n"},
    ),
    "looks without their counts": (
        service_pb2.ListAnalysesRequest(parent="models/m/rollouts/1", summaries_only=True),
        "analyses",
        "analyses",
        {"sequence": "100 + n"},
    ),
}
"""The request, what its answer has, the table, and what the copies of a row of that table have for themselves."""


@pytest.fixture
def read() -> Iterator[dict[str, int]]:
    """How many rows of each table came from the database."""
    rows = dict.fromkeys(("versions", "rollouts", "analyses", "lanes"), 0)

    def note(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        for table in rows:
            if statement.lstrip().startswith("SELECT") and f"FROM {table}" in statement:
                rows[table] += cursor.rowcount

    event.listen(Engine, "after_cursor_execute", note)
    yield rows
    event.remove(Engine, "after_cursor_execute", note)


async def fill(registry: Registry, database: "psycopg.Connection[tuple[object, ...]]", table: str) -> None:
    """One large row of the table, and no small ones."""
    rollout = await registry.running()
    if table == "versions":
        classes = [f"{number:05}" + "c" * 22 for number in range(OCTETS // 29)]
        request = service_pb2.PublishVersionRequest(
            parent="models/m", version=version(), request_id=new_id(), without_rollout=True, allow_incompatible=True
        )
        request.version.signature.CopyFrom(signature(classes))
        await registry.stub.PublishVersion(request)
        database.execute("UPDATE versions SET signature = (SELECT signature FROM versions WHERE version = 'v3')")
    if table == "rollouts":
        large = resources_pb2.Outcome(reason="x" * OCTETS).SerializeToString()
        database.execute("UPDATE rollouts SET outcome = %s", (large,))
    if table == "analyses":
        analysis = analysis_pb2.Analysis(rollout=rollout.name, sequence=1, epoch=1)
        series = analysis.window.instances.add(instance_id="i").series.add(metric="of.the.users.own")
        series.counts.extend([2**40] * (OCTETS // 6))
        await registry.stub.RecordAnalysis(service_pb2.RecordAnalysisRequest(analysis=analysis, request_id=new_id()))


@pytest.mark.parametrize("listed", LISTS)
async def test_a_page_reads_hardly_more_than_it_holds(
    registry: Registry,
    shared_database: "psycopg.Connection[tuple[object, ...]]",
    read: dict[str, int],
    listed: str,
) -> None:
    wanted, field, table, changed = LISTS[listed]
    await fill(registry, shared_database, table)
    multiply(shared_database, table, changed, ROWS)
    request = type(wanted)()
    request.CopyFrom(wanted)
    request.page_size = 1000
    call = getattr(registry.stub, f"List{field.title()}")
    came = 0
    while True:
        read[table] = 0
        page = await call(request)
        rows = getattr(page, field)
        # Those of its blocks: one of eight, and another row that no longer fits.
        assert len(rows) <= read[table] <= HELD + 4
        came += len(rows)
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    (there,) = shared_database.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,)  # noqa: S608
    assert (came, came > ROWS) == (there, True)


@pytest.mark.parametrize(("models", "versions", "most"), [(14, 1, 1.2), (4, 20, 2.2)])
async def test_a_page_of_models_reads_hardly_more_lanes_than_it_holds(
    registry: Registry,
    shared_database: "psycopg.Connection[tuple[object, ...]]",
    read: dict[str, int],
    models: int,
    versions: int,
    most: float,
) -> None:
    """Of many models, each small beside an answer, and of a few, each with more than a page has: all their lanes and
    states take longer to read than a caller waits."""
    await registry.create()
    await registry.publish()
    segments = 1_000
    for table in ("models", "lanes", "lane_versions"):
        columns = columns_of(shared_database, table)
        values = {
            "model": "one.model || model_number",
            "segment": "'segment-' || segment_number",
            "version": "'v' || version_number",
        }
        numbers = f"generate_series(1, {models}) AS model_number"
        if table != "models":
            numbers += f", generate_series(1, {segments}) AS segment_number"
        if table == "lane_versions":
            # One STABLE version of each lane.
            values["state"] = "CASE version_number WHEN 1 THEN one.state ELSE 'DEPRECATED' END"
            numbers += f", generate_series(1, {versions}) AS version_number"
        chosen = ", ".join(values.get(name, f"one.{name}") for name in columns)
        statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table} AS one, {numbers}"  # noqa: S608 - our own names
        shared_database.execute(statement.encode())
    before = read["lanes"]
    names: list[str] = []
    token = ""
    while True:
        page = await registry.stub.ListModels(service_pb2.ListModelsRequest(page_size=1_000, page_token=token))
        names += [model.name for model in page.models]
        token = page.next_page_token
        # With the states of its versions.
        assert read["lanes"] - before <= most * PAGE_ROWS
        before = read["lanes"]
        if not token:
            break
    assert len(names) == len(set(names)) == models + 1
