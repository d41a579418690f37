"""Routes that cannot be used when they come."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from grpc import aio

from services.common.telemetry.logs import make_log
from services.common.watch import Lanes, RouteWatch
from tests.fakes.registry import FakeRegistry, lane
from tests.support.wait import until


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    registry = FakeRegistry()
    await registry.start()
    yield registry
    await registry.stop()


async def test_routes_that_could_not_be_used_are_asked_for_until_they_can(registry: FakeRegistry) -> None:
    refused: list[int] = []
    used: list[tuple[int, set[str]]] = []

    def use(revision: int, lanes: Lanes) -> None:
        if ("b", "") in lanes and len(refused) < 2:
            refused.append(revision)
            raise OSError("certificates are being replaced")
        used.append((revision, {model for model, _ in lanes}))

    async with aio.insecure_channel(registry.address) as channel:
        watch = RouteWatch(channel, use, lambda: None, make_log("test", "critical"))
        following = asyncio.create_task(watch.run())
        await registry.set_lanes(lane("a"))
        await until(lambda: used)
        await registry.set_lanes(lane("a"), lane("b"))
        await until(lambda: len(used) == 2)
        assert (refused, used) == ([3, 3], [(2, {"a"}), (3, {"a", "b"})])
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
