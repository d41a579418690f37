"""The database fails at the worst moments: one effect each, or a clear refusal."""

import contextlib

import psycopg
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from crossfade.registry.v1 import resources_pb2, service_pb2
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from registry.database.engine import open_engine, parse_url
from tests.integration.registry.harness import Registry, Start, new_id, refused
from tests.support.cockroach import Uncategorized
from tests.support.cutting import Proxy
from tests.support.sessions import sessions_of
from tests.support.wait import until_async


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_connection_lost_at_commit(proxy: Proxy, start: Start, database: str, cut: str) -> None:
    registry = await start(database=proxy.url(database))
    rollout = await registry.running()
    events = len(await registry.events())
    request_id = new_id()
    proxy.arm(cut, request_id)
    done = await registry.promote(rollout, request_id=request_id)
    assert done.state == resources_pb2.ROLLOUT_STATE_PROMOTED
    assert proxy.cuts == 1
    assert [event.type for event in await registry.events()][events:] == ["ROLLOUT_PROMOTED"]
    assert await registry.promote(rollout, request_id=request_id) == done


async def test_publications_through_many_cuts(proxy: Proxy, start: Start, database: str) -> None:
    registry = await start(database=proxy.url(database))
    await registry.create()
    for number in range(12):
        request_id = new_id()
        proxy.arm(("before", "after")[number % 2], request_id, times=1 + number % 3)
        await registry.publish(without_rollout=True, request_id=request_id)
        assert proxy.cuts >= 1
    types = [event.type for event in await registry.events()]
    assert types == ["MODEL_CREATED"] + ["VERSION_PUBLISHED"] * 12
    assert sorted(await registry.states()) == sorted(f"v{number}" for number in range(1, 13))


def _fail_statements(
    registry: Registry, matching: str, times: int, kind: type[psycopg.Error] = psycopg.errors.SerializationFailure
) -> list[str]:
    """Makes the next `times` statements that contain a text fail; answers the list of those that did."""
    failed: list[str] = []

    def before(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if matching in statement and len(failed) < times:
            failed.append(statement)
            raise DBAPIError(statement, {}, kind("injected"))

    event.listen(registry.app._engine, "before_cursor_execute", before)
    return failed


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO events",
        "UPDATE route_clock",
        "UPDATE rollouts",
        "UPDATE models",
        "INSERT INTO requests",
        "JOIN lanes",
    ],
)
async def test_serialization_failure_anywhere(start: Start, statement: str) -> None:
    registry = await start()
    rollout = await registry.running()
    events = len(await registry.events())
    failed = _fail_statements(registry, statement, 3)
    done = await registry.rollback(rollout)
    assert len(failed) == 3
    assert done.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK
    assert len(await registry.events()) == events + 1


async def test_a_node_of_the_database_that_ends(start: Start) -> None:
    registry = await start()
    rollout = await registry.running()
    _fail_statements(registry, "UPDATE rollouts", 1, Uncategorized)
    done = await registry.rollback(rollout)
    assert done.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK


async def test_contention_that_does_not_end(start: Start) -> None:
    registry = await start()
    rollout = await registry.running()
    failed = _fail_statements(registry, "UPDATE rollouts", 100)
    said = await refused(registry.rollback(rollout))
    assert (said.code, said.reason) == ("ABORTED", "CONTENTION")
    assert len(failed) == 8
    assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_RUNNING


async def test_connections_ended_by_the_database(start: Start, database: str) -> None:
    registry = await start()
    await registry.running()
    assert sessions_of(database).end() > 0
    done = await registry.rollback(await registry.rollout(1))
    assert done.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK


async def test_a_database_that_is_taken_away(start: Start, own_database: str) -> None:
    registry = await start(database=own_database)
    await registry.create()
    engine = open_engine(parse_url(own_database), 1)

    def rename(name: str, other: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {other}")

    rename("models", "models_before")
    said = await refused(registry.create("n"))
    assert (said.code, said.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
    assert "has no tables of a Registry" in said.message
    rename("models_before", "models")
    await registry.create("n")
    engine.dispose()


async def test_database_that_does_not_answer(proxy: Proxy, start: Start, database: str) -> None:
    registry = await start(database=proxy.url(database))
    await registry.create()
    proxy.arm("before", times=10_000)
    said = await refused(registry.create("n"))
    assert (said.code, said.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
    assert "request_id" in said.message
    proxy.arm("")
    await registry.create("n")


async def test_health_says_whether_the_database_answers(proxy: Proxy, start: Start, database: str) -> None:
    registry = await start(database=proxy.url(database))
    health = health_pb2_grpc.HealthStub(registry.channel)

    async def is_serving(wanted: bool) -> bool:
        answer = await health.Check(health_pb2.HealthCheckRequest())
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING) is wanted

    await until_async(lambda: is_serving(True))
    proxy.arm("before", times=10_000)
    await until_async(lambda: is_serving(False), seconds=30)
    proxy.arm("")
    await until_async(lambda: is_serving(True), seconds=30)


async def test_transactions_and_their_retries_are_counted(start: Start) -> None:
    registry = await start()
    rollout = await registry.running()
    _fail_statements(registry, "UPDATE rollouts", 3)
    await registry.rollback(rollout)
    with contextlib.suppress(aio.AioRpcError):
        await registry.rollout(99)
    stub = telemetry_pb2_grpc.TelemetryServiceStub(registry.channel)

    async def counted() -> dict[str, int]:
        answer = await stub.GetMetrics(telemetry_pb2.GetMetricsRequest())
        found = {}
        for metric in MetricsData.FromString(answer.metrics_data).resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.histogram.data_points:
                outcome = point.attributes[0].value.string_value
                found[f"{metric.name} {outcome}"] = point.count
            for count in metric.sum.data_points:
                found[metric.name] = count.as_int
        return found

    async def all_there() -> bool:
        found = await counted()
        return found.get("crossfade.registry.retry.count", 0) >= 3 and bool(
            found.get("crossfade.registry.transaction.duration ROLLOUT_NOT_FOUND")
        )

    await until_async(all_there)
    assert (await counted())["crossfade.registry.transaction.duration ok"] > 10


async def test_an_expired_deadline_changes_nothing(start: Start) -> None:
    registry = await start()
    rollout = await registry.running()
    _fail_statements(registry, "UPDATE rollouts", 100)
    request = service_pb2.PauseRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
    call = registry.stub.PauseRollout(request, timeout=0.1)
    said = await refused(call)
    assert said.code == "DEADLINE_EXCEEDED"
    assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_RUNNING
