"""Every query finds its rows by an index, and few others, however much is kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2
from sqlalchemy import event, make_url
from sqlalchemy.engine import Engine

from benchmarks.grown import grow
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.tables import METADATA
from registry.service.webhooks import COUNTED
from tests.integration.registry.harness import Registry, Start, new_id, plan
from tests.integration.registry.watching import watching
from tests.integration.registry.years import fill, grow_old
from tests.support.cockroach import refused_by_cockroach
from tests.support.plans import Plans, PostgresPlans, plans_of
from tests.support.wait import until, until_async

SMALL = {"route_clock", "schema_release", "alembic_version", "instances"}
"""Tables of one row, and one with a row for each process that runs: all of them are wanted."""
MOST_ROWS = 1_000
"""That a query reads of 2,000 versions and 20,000 events."""
WEBHOOKS = ("dead", "sick")
EITHER = {"state_history_by_state_noted", "state_history_by_state_revision"}
"""Of a lane whose versions came into a state seldom, either tells all of these changes, and they are put in order."""
UNCOUNTED = ("events_pk", "lane_versions_", "readiness_", "route_changes_", "state_history_")
"""Of what is looked up there PostgreSQL says little: a few rows, found by going through all of a model or of a Worker.

Of other tables it may do so with good reason: a list over all models, a receiver that most rows are for.
"""
FORGOTTEN = {"analyses", "events", "outbox", "requests", "route_changes"}
EXPLAINED = {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}
ABOUT_A_SESSION = {"SET", "SHOW"}
Query = tuple[str, Any]

DEPRECATED, PROMOTED = resources_pb2.VERSION_STATE_DEPRECATED, resources_pb2.ROLLOUT_STATE_PROMOTED
OF_VERSIONS: list[dict[str, Any]] = [
    {},
    {"segment": ""},
    {"states": [DEPRECATED]},
    {"segment": "", "states": [DEPRECATED]},
]
OF_ROLLOUTS: list[dict[str, Any]] = [
    {},
    {"live_only": True},
    {"states": [PROMOTED]},
    {"version": "old7"},
    {"segment": ""},
    {"segment": "eu"},
]
OF_ANALYSES: list[dict[str, Any]] = [{}, {"latest_only": True}, {"summaries_only": True, "after_sequence": 1}]
ENDINGS = ["ROLLOUT_PROMOTED", "ROLLOUT_ROLLED_BACK", "ROLLOUT_INCONCLUSIVE", "ROLLOUT_CANCELLED"]
OF_EVENTS: list[dict[str, Any]] = [
    {},
    {"segment": ""},
    {"version": "old7"},
    {"types": ["MODEL_CREATED"]},
    {"types": ["LANE_UNDONE"]},
    {"types": ["MODEL_CREATED", "LANE_UNDONE"]},
    {"segment": "eu", "types": ["LANE_UNDONE"]},
]
OF_A_MODELS_EVENTS: list[dict[str, Any]] = [{"types": ENDINGS}, {"segment": "eu", "types": ["LANE_UNDONE", *ENDINGS]}]


@pytest.fixture
def queries(own_database: str) -> Iterator[dict[str, Query]]:
    """What is asked of the database, by its text and its values: of a rare one the plan may be another."""
    found: dict[str, Query] = {}
    own = make_url(own_database).database

    def note(connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        # Other tests' services may run in this process, on databases of their own.
        if connection.engine.url.database != own:
            return
        one = values[0] if many else values
        found.setdefault(f"{statement} {one}", (statement, one))

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture
async def grown(own_database: str, start: Start) -> AsyncIterator[str]:
    """A database with 2,000 versions and 20,000 events of the model m, and 100,000 that a webhook was not told of."""
    first = await start(database=own_database)
    await first.running()
    await first.app.stop()
    grow(own_database, "m", versions=2_000, events=20_000)
    fill(own_database)
    with plans_of(own_database, SMALL, MOST_ROWS) as plans:
        plans.analyze(METADATA.tables)
    yield own_database


class Noting:
    """A stub that notes the names of the RPCs that are called."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._stub, name)


async def use(registry: Registry) -> None:
    """Calls each RPC, lists with each filter."""
    stub, name = registry.stub, "models/m"
    await registry.create("another")
    described = resources_pb2.Model(name=name, description="what it is for")
    await stub.UpdateModel(service_pb2.UpdateModelRequest(model=described, request_id=new_id()))
    now = timestamp_pb2.Timestamp()
    now.GetCurrentTime()
    await stub.ListModels(service_pb2.ListModelsRequest())
    await registry.model()
    await stub.GetModel(service_pb2.GetModelRequest(name=name, read_time=now))
    for revision in (5, 15_000):
        await stub.GetModel(service_pb2.GetModelRequest(name=name, revision=revision))
    await stub.GetVersion(service_pb2.GetVersionRequest(name=f"{name}/versions/old7"))
    for wanted in OF_VERSIONS:
        await pages(stub.ListVersions, service_pb2.ListVersionsRequest(parent=name, **wanted), "versions")
    for parent in (name, "models/-"):
        for wanted in OF_ROLLOUTS:
            await pages(stub.ListRollouts, service_pb2.ListRolloutsRequest(parent=parent, **wanted), "rollouts")
        for wanted in (*OF_EVENTS, {"start_time": now}, {"end_time": now}):
            await pages(stub.ListEvents, service_pb2.ListEventsRequest(parent=parent, **wanted), "events")
    for wanted in (*OF_A_MODELS_EVENTS, {"rollout": f"{name}/rollouts/1007"}):
        await pages(stub.ListEvents, service_pb2.ListEventsRequest(parent=name, **wanted), "events")
    await stub.ListInstances(service_pb2.ListInstancesRequest())
    listed = (await stub.ListWebhooks(service_pb2.ListWebhooksRequest())).webhooks
    assert [one.undelivered for one in listed] == [COUNTED, COUNTED, 5]
    for webhook in WEBHOOKS:
        await stub.RetryWebhook(service_pb2.RetryWebhookRequest(name=webhook))
    for which in ({}, {"before": now}, {"model": "models/m7"}, {"model": "models/m7", "before": now}):
        await stub.DropDeliveries(service_pb2.DropDeliveriesRequest(webhook=WEBHOOKS[0], **which))
    await change(registry)
    await start_and_end(registry)
    await watch(registry)


async def pages(call: Any, request: Any, field: str) -> None:
    """Two pages of a list."""
    request.page_size = 5
    page = await call(request)
    if page.next_page_token:
        request.page_token = page.next_page_token
        page = await call(request)
        assert len(getattr(page, field)) > 0


async def change(registry: Registry) -> None:
    """What leads to another stable version, and back."""
    stub, name = registry.stub, "models/m"
    worker = registry.worker()
    await worker.ready("v1", "v2", control="v1")
    rollout = await registry.rollout(1)
    await registry.look(rollout, 1)
    for sequence in (1, 2):
        watched = resources_pb2.Monitor(model=name, version="v1", sequence=sequence)
        await stub.RecordMonitor(service_pb2.RecordMonitorRequest(monitor=watched, request_id=new_id()))
    await stub.GetMonitor(service_pb2.GetMonitorRequest(model=name))
    off = resources_pb2.MonitorSettings(off=True)
    mask = field_mask_pb2.FieldMask(paths=["off"])
    await stub.SetMonitor(
        service_pb2.SetMonitorRequest(model=name, settings=off, update_mask=mask, request_id=new_id())
    )
    for wanted in OF_ANALYSES:
        await stub.ListAnalyses(service_pb2.ListAnalysesRequest(parent=rollout.name, **wanted))
    for verb in ("Pause", "Resume", "Advance"):
        request = getattr(service_pb2, f"{verb}RolloutRequest")(
            name=rollout.name, etag=rollout.etag, request_id=new_id()
        )
        rollout = await getattr(stub, f"{verb}Rollout")(request)
    again = service_pb2.PauseRolloutRequest(name=rollout.name, etag="x", request_id=new_id())
    with pytest.raises(Exception, match="has changed"):
        await stub.PauseRollout(again)
    await registry.promote(rollout, force=True)
    lane = (await registry.model()).lanes[0]
    undo = service_pb2.UndoLaneRequest(model=name, etag=lane.etag, request_id=new_id(), bad=True, force=True)
    lane = await stub.UndoLane(undo)
    await worker.report(leaving=True)


async def start_and_end(registry: Registry) -> None:
    """What comes into a lane, and out of it again: segments, versions loaded by hand, rollouts that end."""
    stub, name = registry.stub, "models/m"
    worker = registry.worker()
    model = await registry.model()
    wanted = service_pb2.SetSegmentRequest(model=name, segment="eu", etag=model.etag, request_id=new_id())
    lane = await stub.SetSegment(wanted)
    await stub.DeleteSegment(
        service_pb2.DeleteSegmentRequest(model=name, segment="eu", etag=lane.etag, request_id=new_id())
    )
    asked = plan(500)
    asked.approval_required = True
    published = await registry.publish(rollout=asked, version_id="bad")
    await worker.ready("v1", "bad", control="v1")
    rollout = await stub.GetRollout(service_pb2.GetRolloutRequest(name=published.rollout.name))
    rollout = await stub.ApproveRollout(
        service_pb2.ApproveRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
    )
    await registry.rollback(rollout)
    await registry.publish(version_id="late", without_rollout=True)
    late = f"{name}/versions/late"
    for ttl in (60, 0, 1):
        held = service_pb2.LoadVersionRequest(
            name=late, etag=await etag(registry), ttl=duration_pb2.Duration(seconds=ttl), request_id=new_id()
        )
        await stub.LoadVersion(held)
    await until_async(lambda: let_go(registry))
    begin = service_pb2.StartRolloutRequest(
        version=late, rollout=plan(500), etag=await etag(registry), request_id=new_id()
    )
    rollout = await stub.StartRollout(begin)
    await stub.CancelRollout(
        service_pb2.CancelRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
    )
    await stub.WithdrawVersion(
        service_pb2.WithdrawVersionRequest(name=late, etag=await etag(registry), request_id=new_id())
    )
    await worker.report(leaving=True)


async def etag(registry: Registry) -> str:
    """The default lane's."""
    return (await registry.model()).lanes[0].etag


async def let_go(registry: Registry) -> bool:
    """Whether nothing is loaded by hand any more."""
    return not (await registry.model()).lanes[0].loaded


async def watch(registry: Registry) -> None:
    """From the beginning, and from where it was left."""
    async with watching(registry) as first:
        seen = await first.next()
    async with watching(registry, seen.revision - 5) as resumed:
        await resumed.until(seen.revision)


def word(statement: str) -> str:
    """The first one."""
    return statement.split(maxsplit=1)[0].upper()


def tried(webhook: str, queries: Iterable[Query]) -> bool:
    """Whether it was noted how an attempt at a webhook went."""
    return any(statement.startswith("UPDATE outbox") and webhook in values.values() for statement, values in queries)


@pytest.fixture
async def asked(grown: str, start: Start, queries: dict[str, Query], tmp_path: Path) -> list[Query]:
    """Whatever a Registry asks, by each of its calls and by itself."""
    file = tmp_path / "webhooks.toml"
    file.write_text("".join(f'[[webhook]]\nname = "{name}"\nurl = "http://127.0.0.1:1/"\n' for name in WEBHOOKS))
    registry = await start(
        database=grown, event_days=0.001, analysis_days=1.0, webhooks=file, webhook_poll_seconds=0.05
    )
    registry.stub = noting = cast("Any", Noting(registry.stub))
    await use(registry)
    service = service_pb2.DESCRIPTOR.services_by_name["RegistryService"]
    assert {method.name for method in service.methods} - noting.called == set()
    await until(lambda: all(tried(webhook, queries.values()) for webhook in WEBHOOKS))
    forgotten = await asyncio.to_thread(registry.app.retention.forget, deadline=time.monotonic() + 60)
    assert forgotten.failures == ()
    await registry.app.stop()
    removed = {statement.split(maxsplit=3)[2] for statement, _ in queries.values() if word(statement) == "DELETE"}
    assert removed >= FORGOTTEN
    grow_old(grown)
    with plans_of(grown, SMALL, MOST_ROWS) as plans:
        plans.analyze(["outbox"])
    assert {word(statement) for statement, _ in queries.values()} <= EXPLAINED | ABOUT_A_SESSION
    assert len(queries) > 300
    return [query for query in queries.values() if word(query[0]) in EXPLAINED]


def harm(plans: Plans, query: Query) -> Iterator[str]:
    """What is wrong with a query's plan."""
    yield from plans.waste(*query)
    yield from (one for one in plans.detours(*query) if one.startswith(UNCOUNTED))


# To fill the tables takes long on a CockroachDB and a busy machine.
@pytest.mark.timeout(400)
async def test_every_query_has_an_index(grown: str, asked: list[Query]) -> None:
    assert [statement for statement, _ in asked if refused_by_cockroach(statement)] == []
    with plans_of(grown, SMALL, MOST_ROWS) as plans:
        wasteful = [f"{why}: {query}" for query in asked for why in harm(plans, query)]
    assert not wasteful, "\n".join(wasteful)


@pytest.mark.postgres_only
@pytest.mark.timeout(120)
async def test_every_index_has_a_query(grown: str, asked: list[Query]) -> None:
    tables = [table for table in METADATA.sorted_tables if table.name not in SMALL]
    # One that says what there may be once alone has a purpose already.
    named = {str(index.name) for table in tables for index in table.indexes if not index.unique}
    with PostgresPlans(grown, SMALL, MOST_ROWS) as plans:
        for names in (EITHER, *({name} for name in named - EITHER)):
            with plans.without(names):
                assert any(next(harm(plans, query), None) for query in asked), f"nothing needs {names}"
