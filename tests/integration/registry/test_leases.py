"""Leases that expire, by a clock in the test's hand."""

import asyncio

import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import LEASE_SECONDS, LOADING, READY, Start, new_id, refused
from tests.integration.registry.leased import arms, listed, serve, served, ticking
from tests.support.wait import until_async


async def test_a_lease_expires(start: Start) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    await registry.create()
    await registry.publish()
    clock.advance(100)
    alive, dead = registry.worker(ttl=LEASE_SECONDS), registry.worker(ttl=LEASE_SECONDS)
    await dead.ready("v1")
    clock.advance(10)
    await alive.ready("v1")
    clock.advance(5)
    await registry.app.upkeep.once()
    assert [one.instance_id for one in await listed(registry)] == [alive.instance_id]
    assert await arms(registry) == {"stable": 1}
    # It was only slow: its next report brings it back.
    await dead.report()
    assert await arms(registry) == {"stable": 2}


async def test_a_model_that_cannot_be_read_keeps_no_other_models_lease_from_its_end(
    start: Start, shared_database: psycopg.Connection[tuple[object, ...]]
) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    workers = []
    for model in ("a", "b", "c"):
        await registry.create(model)
        await registry.publish(model)
        workers.append(registry.worker(model, ttl=LEASE_SECONDS))
        await workers[-1].ready("v1")
    # Whoever comes first in the sweep, another one comes after it.
    shared_database.execute("UPDATE lanes SET loaded = 'no list' WHERE model = 'b'")
    clock.advance(15)
    for _ in range(2):
        await registry.app.upkeep.once()
    assert [one.instance_id for one in await listed(registry)] == [workers[1].instance_id]
    shared_database.execute("UPDATE lanes SET loaded = '[]' WHERE model = 'b'")
    await registry.app.upkeep.once()
    assert await listed(registry) == []


async def test_a_model_that_cannot_be_read_keeps_no_worker_that_is_gone_in_other_models_routes(
    start: Start, shared_database: psycopg.Connection[tuple[object, ...]]
) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock, readiness_debounce_seconds=3.0)
    for model in "abc":
        await registry.create(model)
        await registry.publish(model)
    dead, leaving, loading, slow = (registry.worker() for _ in range(4))
    for worker in (dead, leaving, loading, slow):
        for model in "abc":
            serve(worker, model, READY)
        await worker.report(ttl=15.0 if worker in (dead, slow) else 600.0)
    for model in "abc":
        serve(loading, model, LOADING)
    await loading.report(ttl=600.0)
    shared_database.execute("UPDATE lanes SET loaded = 'no list' WHERE model = 'b'")
    assert (await refused(leaving.report(leaving=True, sequence=1))).code == "INTERNAL"
    assert await served(registry) == {"a": 3, "b": 4, "c": 3}
    clock.advance(15)
    for _ in range(2):
        await registry.app.upkeep.once()
        assert await served(registry) == {"a": 0, "b": 4, "c": 0}
    # It was only slow, and says what it has said before.
    await slow.report()
    assert await served(registry) == {"a": 1, "b": 4, "c": 1}
    shared_database.execute("UPDATE lanes SET loaded = '[]' WHERE model = 'b'")
    await registry.app.upkeep.once()
    await leaving.report(leaving=True, sequence=2)
    assert await served(registry) == {"a": 1, "b": 1, "c": 1}
    assert {one.instance_id for one in await listed(registry)} == {slow.instance_id, loading.instance_id}


async def test_many_leases_that_end_at_once_are_one_change_of_the_routes(start: Start) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    for model in "ab":
        await registry.create(model)
        await registry.publish(model)
    workers = [registry.worker(ttl=LEASE_SECONDS) for _ in range(12)]
    for worker in workers:
        for model in "ab":
            serve(worker, model, READY)
        await worker.report()
    clock.advance(10)
    await workers[0].report()
    revision = (await workers[1].report()).revision
    clock.advance(5)
    await registry.app.upkeep.once()
    assert await served(registry) == {"a": 2, "b": 2}
    assert (await workers[0].report()).revision == revision + 1


async def test_a_report_that_comes_too_late_lets_no_lease_last_longer(start: Start) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    await registry.create()
    worker = registry.worker(ttl=LEASE_SECONDS)
    await worker.report(sequence=3)
    clock.advance(10)
    worker.set("v1", LOADING)
    await worker.report(sequence=2)
    clock.advance(5)
    await registry.app.upkeep.once()
    assert await listed(registry) == []


async def test_no_lease_expires_before_the_registry_is_up_for_one(start: Start) -> None:
    clock = ManualClock()
    first = await ticking(start, clock)
    await first.create()
    await first.publish()
    worker = first.worker(ttl=LEASE_SECONDS)
    await worker.ready("v1")
    # The Registry was away for longer than the lease, so that nobody could renew it.
    clock.advance(60)
    second = await ticking(start, clock)
    await second.app.upkeep.once()
    assert await arms(second) == {"stable": 1}
    assert [one.instance_id for one in await listed(second)] == [worker.instance_id]
    clock.advance(14)
    await second.app.upkeep.once()
    assert await arms(second) == {"stable": 1}
    clock.advance(2)
    await second.app.upkeep.once()
    assert await listed(second) == []
    assert await arms(second) == {"stable": 0}


async def test_replicas_whose_clocks_are_minutes_apart(start: Start) -> None:
    behind, ahead = ManualClock(1_700_000_000.0), ManualClock(1_700_000_300.0)
    replicas = [await ticking(start, behind), await ticking(start, ahead)]
    registry = replicas[0]
    await registry.create()
    await registry.publish()
    alive, dead = registry.worker(ttl=LEASE_SECONDS), replicas[1].worker(ttl=LEASE_SECONDS)
    await alive.ready("v1")
    await dead.ready("v1")

    async def seconds_pass(seconds: float) -> None:
        for clock in (behind, ahead):
            clock.advance(seconds)
        for replica in replicas:
            await replica.app.upkeep.once()

    for _ in range(4):
        await seconds_pass(5)
        await alive.report()
    # Neither was the lease ended that one clock wrote into the other's past, nor did the other last for five minutes.
    assert [one.instance_id for one in await listed(replicas[1])] == [alive.instance_id]
    assert await arms(registry) == {"stable": 1}


async def test_two_replicas_sweep_the_same(start: Start) -> None:
    clock = ManualClock()
    replicas = [await ticking(start, clock), await ticking(start, clock)]
    registry = replicas[0]
    await registry.create()
    await registry.publish()
    clock.advance(100)
    workers = [registry.worker(ttl=LEASE_SECONDS) for _ in range(4)]
    for worker in workers:
        await worker.ready("v1")
    clock.advance(16)
    await asyncio.gather(*(replica.app.upkeep.once() for replica in replicas))
    assert await arms(registry) == {"stable": 0}


async def test_sweeping_goes_on_by_itself(start: Start) -> None:
    registry = await start(sweep_seconds=0.05)
    await registry.create()
    await registry.publish()
    worker = registry.worker(ttl=LEASE_SECONDS)
    worker.set("v1", READY)
    await worker.report(ttl=1.0)

    async def gone() -> bool:
        return await arms(registry) == {"stable": 0}

    await until_async(gone)


async def test_a_restart_of_a_process_is_debounced(start: Start) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock, readiness_debounce_seconds=3.0)
    await registry.create()
    await registry.publish()
    worker = registry.worker(ttl=LEASE_SECONDS)
    await worker.ready("v1")
    revision = (await worker.report()).revision
    worker.set("v1", LOADING)
    await worker.report()
    clock.advance(2)
    await registry.app.upkeep.once()
    assert await arms(registry) == {"stable": 1}
    worker.set("v1", READY)
    await worker.report()
    assert (await worker.report()).revision == revision
    worker.set("v1", LOADING)
    await worker.report()
    clock.advance(3)
    # The report is the same, so that only the sweep can see that the time is over.
    await worker.report()
    assert await arms(registry) == {"stable": 1}
    await registry.app.upkeep.once()
    assert await arms(registry) == {"stable": 0}
    found = (await listed(registry))[0].serving[0]
    assert found.state == resources_pb2.SERVING_STATE_LOADING


async def test_a_ledger_that_cannot_be_written_is_no_lost_database(
    start: Start, shared_database: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    etag = (await registry.model()).lanes[0].etag
    load = service_pb2.LoadVersionRequest(name="models/m/versions/v2", etag=etag, request_id=new_id())
    await registry.stub.LoadVersion(load)
    shared_database.execute(
        "INSERT INTO events SELECT model, sequence + 1, segment, version, rollout, type, time, actor, reason, "
        "revision, outcome, hash, hash FROM events ORDER BY sequence DESC LIMIT 1"
    )
    clock.advance(3_601)
    # It cannot be let go, which would be an event.
    await registry.app.upkeep.once()
    said = await refused(registry.publish(without_rollout=True))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "LEDGER_BROKEN")
    health = health_pb2_grpc.HealthStub(registry.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    shared_database.execute("DELETE FROM events WHERE hash = previous_hash")
    await registry.app.upkeep.once()
    assert (await registry.events())[-1].type == "VERSION_UNLOADED"
