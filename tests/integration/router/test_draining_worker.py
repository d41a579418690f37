"""Whom a Router charges when a real Worker's process ends while a slow caller leaves its stream unread."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossfade.artifact import Loop
from crossfade.client import AsyncClient, PredictError
from crossfade.manifest import Precision
from crossfade.registry.v1 import resources_pb2
from router.app import App as Router
from router.settings import RouterSettings
from services.common.telemetry import catalog
from services.worker.app import App as Worker
from services.worker.settings import WorkerSettings
from tests.fakes.looping import LOOP, NEVER, Walk, package_walk
from tests.fakes.registry import FakeRegistry, lane, wanted
from tests.support.wait import until, until_async
from tests.support.worker import counted, metrics

WIDE = Loop(feeds=LOOP.feeds, parts=("wide",), max_parts=NEVER)


class House:
    """A Registry that the test writes, a Worker with real processes, and a Router before it."""

    def __init__(self, folder: Path) -> None:
        self.registry = FakeRegistry()
        self._folder = folder
        self.worker: Worker
        self.router: Router
        self.client: AsyncClient

    async def start(self) -> None:
        keys = self._folder / "keys"
        keys.write_text("1 " + "ab" * 32 + "\n")
        await self.registry.start()
        packaged = package_walk(self._folder / "walk", Walk(wide=50_000), WIDE)
        artifact = packaged.artifact
        version = wanted("v1", packaged.uri, artifact.digest, artifact.manifest, size=artifact.size)
        await self.registry.set_lanes(lane("walk", version))
        common: dict[str, Any] = {"listen": "127.0.0.1:0", "registry": self.registry.address, "token_keys": keys}
        self.worker = Worker(
            WorkerSettings(
                artifact_cache=self._folder / "cache",
                quiet_seconds=0.1,
                drain_seconds=1.0,
                poll_seconds=0.1,
                version_threads=1,
                precision=Precision.FP32,
                **common,
            )
        )
        await self.worker.start()
        self.router = Router(RouterSettings(log_level="error", drain_seconds=0.2, **common))
        await self.router.start()
        await until(lambda: self.registry.state("walk", "v1") == "READY", 60)
        serving = self.registry.serving("walk", "v1")
        assert serving is not None
        version.endpoints.add(instance_id="w", address=serving.address)
        routes = lane("walk", version)
        routes.arms.append(
            resources_pb2.RouteArm(arm="stable", version="v1", share_bps=10_000, endpoints=version.endpoints)
        )
        await self.registry.set_lanes(routes)
        await until(lambda: self.router.proxy.table.lanes)
        self.client = AsyncClient(self.router.address)

    async def stop(self) -> None:
        await self.client.close()
        await self.router.stop()
        await self.worker.stop()
        await self.registry.stop()

    async def unread(self) -> AsyncIterator[Any]:
        """A stream that stands still, for its caller has stopped to read."""
        inputs = {"start": np.full((1, 4), 0.5, np.float32), "length": np.array([[NEVER]])}
        parts = self.client.predict_stream("walk", inputs, timeout=60.0)
        await anext(parts)
        last = -1

        async def stands_still() -> bool:
            nonlocal last
            before, last = last, counted(await metrics(self.worker.address), catalog.INFERENCE_DURATION)
            await asyncio.sleep(0.2)
            return before == last

        await until_async(stands_still, 30)
        return parts

    async def broken_off(self, parts: AsyncIterator[Any]) -> PredictError:
        """Reads on to the end."""
        with pytest.raises(PredictError) as raised:
            async for _ in parts:
                pass
        return raised.value

    async def charged(self) -> dict[str, int]:
        """The Router's attempts by outcome."""
        found = await metrics(self.router.address)
        return {one.attributes[4]: sum(one.counts) for one in found if one.metric is catalog.ATTEMPT_DURATION}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    await built.start()
    yield built
    await built.stop()


async def test_a_stream_cut_off_at_the_end_of_draining_is_charged_to_nobody(house: House) -> None:
    parts = await house.unread()
    # The version is not wanted any more; a lane that is gone is the same to the Router as one that lists others.
    await house.registry.set_lanes()
    await until(lambda: house.registry.state("walk", "v1") == "", 30)
    assert (await house.broken_off(parts)).reason == "STREAM_BROKEN"
    assert await house.charged() == {}


async def test_a_stream_whose_worker_ends_is_charged_to_nobody(house: House) -> None:
    parts = await house.unread()
    house.worker.supervisor.stop()
    await until(lambda: house.registry.state("walk", "v1") == "DRAINING", 30)
    # As the Registry does with what it is told.
    await house.registry.set_lanes()
    await until(lambda: house.registry.state("walk", "v1") == "", 30)
    assert (await house.broken_off(parts)).reason == "STREAM_BROKEN"
    assert await house.charged() == {}


async def test_a_crash_is_charged_however_late_its_caller_reads_of_it(house: House) -> None:
    parts = await house.unread()
    os.kill(next(iter(house.worker.supervisor.pids().values())), signal.SIGKILL)
    await until(lambda: house.registry.state("walk", "v1") != "READY", 30)
    await house.registry.set_lanes()
    await until(lambda: not house.router.proxy.table.lanes)
    assert (await house.broken_off(parts)).reason == "STREAM_BROKEN"
    assert await house.charged() == {"UNAVAILABLE": 1}
