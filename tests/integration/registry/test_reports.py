"""Reports of processes: what they say, in which order they count, and what the routes make of them."""

import asyncio
import threading
from collections.abc import Iterable

import psycopg
import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.service.instances import InstanceService, Report
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import (
    CONTROL,
    FAILED,
    LEASE_SECONDS,
    LIVE,
    LOADING,
    READY,
    Registry,
    Start,
    new_id,
    refused,
)
from tests.integration.registry.leased import arms, listed, ticking
from tests.support.wait import until


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


async def test_an_id_in_another_spelling_is_the_same_process(registry: Registry) -> None:
    ids = sorted(new_id() for _ in range(2))
    for spelt in (*ids, ids[0].upper(), f"{{{ids[0]}}}", ids[1].replace("-", ""), "-" * 10_000 + ids[1]):
        worker = registry.worker()
        worker.instance_id = spelt
        await worker.report()
    request = service_pb2.ListInstancesRequest(page_size=1)
    found = []
    for _ in ids:
        page = await registry.stub.ListInstances(request)
        found += [one.instance_id for one in page.instances]
        request.page_token = page.next_page_token
    assert (found, request.page_token) == (ids, "")


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
    worker = registry.worker(ttl=LEASE_SECONDS)
    worker.set("v1", READY)
    await worker.report(sequence=1)
    await worker.report(sequence=3, leaving=True)
    await worker.report(sequence=2)
    assert await listed(registry) == []
    assert await arms(registry) == {"stable": 0}
    kept = "SELECT count(*) FROM instances"
    assert shared_database.execute(kept).fetchone() == (1,)
    await registry.app.upkeep.once()
    clock.advance(LEASE_SECONDS)
    await registry.app.upkeep.once()
    assert shared_database.execute(kept).fetchone() == (0,)


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


async def test_leases_are_renewed_while_a_fleet_that_starts_reports(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred Workers that start at once took all threads, and the leases of those that serve ran out."""
    await registry.create()
    await registry.publish()
    serves = registry.worker()
    await serves.ready("v1")
    go_on, lock = threading.Event(), threading.Lock()
    running, most = 0, 0
    change = InstanceService.change

    def slow(self: InstanceService, report: Report, *, deadline: float) -> tuple[float, int]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            go_on.wait(60)
            return change(self, report, deadline=deadline)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(InstanceService, "change", slow)
    starting = [registry.worker() for _ in range(40)]
    for one in starting:
        one.set("v1")
    reports = [asyncio.ensure_future(one.report()) for one in starting]
    await until(lambda: running)
    try:
        for _ in range(3):
            await asyncio.wait_for(serves.report(), 20)
        # Whoever gives up does not let the next one begin beside what has begun.
        reports[0].cancel()
        await asyncio.gather(reports[0], return_exceptions=True)
        await asyncio.wait_for(serves.report(), 20)
    finally:
        go_on.set()
    await asyncio.gather(*reports[1:])
    assert most == 1
