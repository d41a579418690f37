"""Leases and readiness, by a clock in the test's hand."""

import asyncio
from collections.abc import Iterable

import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import CONTROL, FAILED, LIVE, LOADING, READY, Registry, Start, new_id, refused
from tests.support.wait import until_async


async def listed(registry: Registry, kind: int = 0) -> list[resources_pb2.Instance]:
    request = service_pb2.ListInstancesRequest(kind=kind)  # type: ignore[arg-type]  # an enum's number
    return list((await registry.stub.ListInstances(request)).instances)


async def arms(registry: Registry) -> dict[str, int]:
    """The arms' addresses, counted."""
    call = registry.stub.WatchRoutes(service_pb2.WatchRoutesRequest())
    try:
        response = await call.read()
        assert isinstance(response, service_pb2.WatchRoutesResponse)
        return {arm.arm: len(arm.endpoints) for arm in response.lanes[0].arms}
    finally:
        call.cancel()


async def ticking(start: Start, clock: ManualClock, **changes: object) -> Registry:
    """A Registry that sweeps when the test says so."""
    return await start(clock, sweep_seconds=60, **changes)


async def test_whatever_a_program_says_when_it_fails_its_worker_reports(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    worker.set("v1", FAILED, error_code="LOAD_FAILED")
    worker.serving["v1", LIVE].error = "shapes \0 differ, " * 1_000
    await worker.report()
    (seen,) = (await registry.stub.ListInstances(service_pb2.ListInstancesRequest())).instances
    assert seen.serving[0].error.startswith("shapes \N{REPLACEMENT CHARACTER} differ")
    assert len(seen.serving[0].error) == 2_000


async def test_instances_are_listed(registry: Registry) -> None:
    await registry.create()
    worker = registry.worker()
    worker.set("v1", READY)
    answer = await worker.report(ttl=30.0)
    router = resources_pb2.Instance(
        instance_id=new_id(), kind=resources_pb2.INSTANCE_KIND_ROUTER, address="127.0.0.1:8500"
    )
    await registry.stub.ReportInstance(service_pb2.ReportInstanceRequest(instance=router))
    found = await listed(registry)
    assert [one.kind for one in found] == [resources_pb2.INSTANCE_KIND_ROUTER, resources_pb2.INSTANCE_KIND_WORKER]
    assert found[1].serving == _list(worker.serving.values())
    assert found[1].expire_time == answer.expire_time
    assert found[1].expire_time.ToSeconds() - found[1].report_time.ToSeconds() in (30, 31)
    assert len(await listed(registry, resources_pb2.INSTANCE_KIND_ROUTER)) == 1
    page = await registry.stub.ListInstances(service_pb2.ListInstancesRequest(page_size=1))
    rest = await registry.stub.ListInstances(
        service_pb2.ListInstancesRequest(page_size=1, page_token=page.next_page_token)
    )
    assert [page.instances[0], rest.instances[0]] == found
    wrong = service_pb2.ReportInstanceRequest(instance=router)
    wrong.instance.instance_id = "router"
    assert (await refused(registry.stub.ReportInstance(wrong))).field == "instance.instance_id"


def _list(values: Iterable[resources_pb2.Serving]) -> list[resources_pb2.Serving]:
    return sorted(values, key=lambda one: (one.model, one.version, one.traffic))


async def test_a_process_is_what_it_was_first(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    router = resources_pb2.Instance(
        instance_id=worker.instance_id, kind=resources_pb2.INSTANCE_KIND_ROUTER, address="127.0.0.1:1"
    )
    for leaving in (True, False):
        request = service_pb2.ReportInstanceRequest(instance=router, leaving=leaving)
        assert (await refused(registry.stub.ReportInstance(request))).reason == "INSTANCE_KIND"
    assert (await arms(registry)) == {"stable": 1}
    router.instance_id = new_id()
    router.serving.extend(worker.serving.values())
    request = service_pb2.ReportInstanceRequest(instance=router)
    assert (await refused(registry.stub.ReportInstance(request))).field == "instance.serving"


async def test_leaving_ends_the_lease_at_once(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    assert await arms(registry) == {"stable": 1}
    await worker.report(leaving=True)
    assert await listed(registry) == []
    assert await arms(registry) == {"stable": 0}


async def test_a_report_that_was_on_its_way_for_long_undoes_no_later_one(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    worker.set("v1", READY)
    await worker.report(sequence=1)
    worker.set("v1", FAILED, error_code="LOAD_FAILED")
    await worker.report(sequence=3)
    worker.set("v1", READY)
    for sequence in (1, 2):
        late = await worker.report(sequence=sequence)
        assert late.revision
        assert await arms(registry) == {"stable": 0}
    (seen,) = await listed(registry)
    assert [one.state for one in seen.serving] == [FAILED]
    await worker.report(sequence=4)
    assert await arms(registry) == {"stable": 1}
    # Renewals count as well: what the fifth said was not so any more when the sixth said what the fourth had.
    await worker.report(sequence=6)
    worker.set("v1", FAILED, error_code="LOAD_FAILED")
    await worker.report(sequence=5)
    assert await arms(registry) == {"stable": 1}
    assert (await refused(worker.report(sequence=-1))).field == "sequence"


async def test_reports_without_a_number_are_taken_as_they_come(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    worker.set("v1", READY)
    await worker.report(sequence=7)
    worker.set("v1", FAILED, error_code="LOAD_FAILED")
    await worker.report()
    assert await arms(registry) == {"stable": 0}
    await worker.report(leaving=True)
    worker.set("v1", READY)
    await worker.report()
    assert await arms(registry) == {"stable": 1}


async def test_one_that_has_left_is_not_taken_back_by_a_late_report_and_is_forgotten_in_the_end(
    start: Start, shared_database: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    worker.set("v1", READY)
    await worker.report(sequence=1)
    await worker.report(sequence=3, leaving=True)
    await worker.report(sequence=2)
    assert await listed(registry) == []
    assert await arms(registry) == {"stable": 0}
    kept = "SELECT count(*) FROM instances"
    assert shared_database.execute(kept).fetchone() == (1,)
    await registry.app.upkeep.once()
    clock.advance(15)
    await registry.app.upkeep.once()
    assert shared_database.execute(kept).fetchone() == (0,)


async def test_a_lease_expires(start: Start) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    await registry.create()
    await registry.publish()
    clock.advance(100)
    alive, dead = registry.worker(), registry.worker()
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


async def test_a_report_that_comes_too_late_lets_no_lease_last_longer(start: Start) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock)
    await registry.create()
    worker = registry.worker()
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
    worker = first.worker()
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
    alive, dead = registry.worker(), replicas[1].worker()
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
    workers = [registry.worker() for _ in range(4)]
    for worker in workers:
        await worker.ready("v1")
    clock.advance(16)
    await asyncio.gather(*(replica.app.upkeep.once() for replica in replicas))
    assert await arms(registry) == {"stable": 0}


async def test_sweeping_goes_on_by_itself(start: Start) -> None:
    registry = await start(sweep_seconds=0.05)
    await registry.create()
    await registry.publish()
    worker = registry.worker()
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
    worker = registry.worker()
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


async def test_shares_follow_the_workers(registry: Registry) -> None:
    rollout = await registry.running()
    epoch = (await registry.model()).lanes[0].epoch
    for _ in range(29):
        await registry.worker().ready("v1")
    after = await registry.rollout(1)
    # 1 of 30 Workers carries the test version: 3.33 %.
    assert after.effective_share_bps == 333
    assert after.etag == rollout.etag
    assert (await registry.model()).lanes[0].epoch > epoch


async def test_control_process_that_goes_away_leaves_the_share(registry: Registry) -> None:
    await registry.running()
    worker = registry.worker()
    await worker.ready("v1", "v2", control="v1")
    assert (await arms(registry))["control"] == 2
    worker.set("v1", LOADING, CONTROL)
    await worker.report()
    assert (await arms(registry))["control"] == 1


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
