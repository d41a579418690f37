"""A lease goes on, whatever becomes of one report."""

import asyncio
from typing import Any

import grpc
from grpc import aio

from crossfade.registry.v1 import resources_pb2, service_pb2
from services.common.channels import Channels
from services.common.lease import Lease
from services.common.settings import ServiceSettings
from services.common.telemetry.logs import make_log
from tests.fakes.registry import FakeRegistry
from tests.support.wait import until


async def test_a_report_that_cannot_be_made_does_not_end_the_lease() -> None:
    registry = FakeRegistry()
    await registry.start()
    asked = 0

    def describe() -> resources_pb2.Instance:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("too many open files")
        return resources_pb2.Instance(instance_id="worker")

    async with aio.insecure_channel(registry.address) as channel:
        lease = Lease(channel, describe, 3.0, make_log("test", "critical"))
        running = asyncio.create_task(lease.run())
        await until(lambda: "worker" in registry.instances)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        asked = 0
        await lease.leave()
    assert registry.left == []
    await registry.stop()


async def test_reports_are_numbered_and_the_last_one_is_that_of_leaving() -> None:
    registry = FakeRegistry()
    await registry.start()
    async with aio.insecure_channel(registry.address) as channel:
        described = resources_pb2.Instance(instance_id="worker")
        lease = Lease(channel, lambda: described, 30.0, make_log("test", "critical"))
        running = asyncio.create_task(lease.run())
        for number in (1, 2, 3):
            await until(lambda number=number: len(registry.sequences) == number)  # type: ignore[misc]  # bound now
            lease.changed()
        await until(lambda: len(registry.sequences) == 4)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await lease.leave()
    assert registry.sequences == [1, 2, 3, 4, 5]
    assert registry.left == ["worker"]
    await registry.stop()


class Slow(FakeRegistry):
    """Takes a report when the test says so, and says who leaves and who does not in the order of their coming."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.took: list[str] = []

    async def ReportInstance(  # noqa: N802 - the method's name in the contract
        self, request: service_pb2.ReportInstanceRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> service_pb2.ReportInstanceResponse:
        """Takes it late, unless it leaves."""
        if not request.leaving:
            self.asked.set()
            await self.go.wait()
        self.took.append("leaving" if request.leaving else "report")
        return await super().ReportInstance(request, context)


async def leaving(registry: Slow, channel: aio.Channel) -> "asyncio.Task[None]":
    """A process that leaves while its report is under way."""
    lease = Lease(channel, lambda: resources_pb2.Instance(instance_id="w"), 60.0, make_log("test", "critical"))
    running = asyncio.create_task(lease.run())
    await registry.asked.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return asyncio.create_task(lease.leave())


async def test_who_leaves_does_not_overtake_its_own_report() -> None:
    registry = Slow()
    await registry.start()
    async with asyncio.timeout(30), aio.insecure_channel(registry.address) as channel:
        left = await leaving(registry, channel)
        await asyncio.wait({left}, timeout=0.2)
        registry.go.set()
        await left
    assert registry.took == ["report", "leaving"]
    await registry.stop()


async def test_a_registry_that_does_not_answer_is_left_all_the_same() -> None:
    registry = Slow()
    await registry.start()
    async with asyncio.timeout(30), aio.insecure_channel(registry.address) as channel:
        await (await leaving(registry, channel))
    assert registry.took == ["leaving"]
    await registry.stop()


class Blind(FakeRegistry):
    """Has lost its database."""

    async def ReportInstance(  # noqa: N802 - the method's name in the contract
        self, request: service_pb2.ReportInstanceRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> service_pb2.ReportInstanceResponse:
        """Takes no report."""
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the Registry's database does not answer")


async def test_a_replica_that_has_lost_its_database_keeps_no_report_from_the_other_one() -> None:
    blind, other = Blind(), FakeRegistry()
    await blind.start()
    await other.start()
    replicas = f"ipv4:{blind.address},{other.address}"
    async with Channels(ServiceSettings()).open_replicas(replicas) as channel:
        described = resources_pb2.Instance(instance_id="worker")
        running = asyncio.create_task(Lease(channel, lambda: described, 3.0, make_log("test", "critical")).run())
        # Each third of the lease at the least.
        await until(lambda: len(other.sequences) >= 3, seconds=30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await blind.stop()
    await other.stop()
