"""A version of which many processes have stopped, and none of its calls waits."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crossfade.registry.v1 import resources_pb2
from tests.fakes.worker import FakeWorker
from tests.integration.router.test_router import ROWS, House
from tests.support.wait import until


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    await built.start()
    yield built
    await built.stop()


async def test_no_call_waits_for_stopped_processes_while_others_serve(house: House) -> None:
    workers = [FakeWorker("v1") for _ in range(8)]
    for worker in workers:
        await worker.start()
    where = [resources_pb2.Endpoint(instance_id="w", address=worker.address) for worker in workers]
    stable = resources_pb2.RouteArm(arm="stable", version="v1", share_bps=10_000, endpoints=where)
    wanted = resources_pb2.WantedVersion(version="v1", endpoints=where)
    await house.registry.set_lanes(
        resources_pb2.LaneRoutes(model="churn", epoch=1, arms=[stable], wanted=[wanted], stable_version="v1")
    )
    await until(lambda: house.app.proxy.table.lanes)
    for worker in workers[:4]:
        await worker.stop()
    for _ in range(10):
        calls = (house.client.predict("churn", ROWS, timeout=10) for _ in range(12))
        assert {answer.version for answer in await asyncio.gather(*calls)} == {"v1"}
    for worker in workers[4:]:
        await worker.stop()
    waiting = [asyncio.create_task(house.client.predict("churn", ROWS, timeout=20)) for _ in range(20)]
    # Of all that stopped only one comes back, and it answers every call.
    await workers[2].start()
    assert {answer.version for answer in await asyncio.gather(*waiting)} == {"v1"}
    await workers[2].stop()
