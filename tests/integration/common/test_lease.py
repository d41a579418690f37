"""A lease goes on, whatever becomes of one report."""

import asyncio

from grpc import aio

from crossfade.registry.v1 import resources_pb2
from services.common.lease import Lease
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
