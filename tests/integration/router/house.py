"""A Router, its Registry and two Workers that do as told, on real gRPC."""

from pathlib import Path
from typing import Any

import numpy as np
from grpc import aio

from crossfade.client import AsyncClient
from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from router.app import App
from router.settings import RouterSettings
from services.common.telemetry import catalog, otlp
from tests.fakes.registry import FakeRegistry
from tests.fakes.worker import FakeWorker
from tests.support.wait import until

KEY = "ab" * 16
ROWS = np.ones((1, 4), dtype=np.float32)


class House:
    """A Router, its Registry and two Workers."""

    def __init__(self, folder: Path) -> None:
        keys = folder / "keys"
        keys.write_text(f"1 {KEY}\n")
        self.registry = FakeRegistry()
        self.stable, self.test = FakeWorker("v1"), FakeWorker("v2")
        self._folder = folder
        self.keys = keys
        self.app: App

    async def start(self) -> None:
        await self.registry.start()
        await self.stable.start()
        await self.test.start()
        await self.start_router()

    async def start_router(self, drain_seconds: float = 0.2) -> None:
        settings = RouterSettings(
            listen="127.0.0.1:0",
            registry=self.registry.address,
            token_keys=self.keys,
            table_file=self._folder / "table.pb",
            log_level="error",
            drain_seconds=drain_seconds,
        )
        self.app = App(settings)
        await self.app.start()
        self.client = AsyncClient(self.app.address)

    async def stop_router(self) -> None:
        await self.client.close()
        await self.app.stop()

    async def stop(self) -> None:
        await self.stop_router()
        for server in (self.registry, self.stable, self.test):
            await server.stop()

    async def routes(self, test_share: int = 0, epoch: int = 1, control: int = 0) -> None:
        """Publishes routes and waits until the Router uses them."""
        stable = [resources_pb2.Endpoint(instance_id="w", address=self.stable.address)]
        test = [resources_pb2.Endpoint(instance_id="w", address=self.test.address)]
        signature = model_pb2.Signature(classes=["keep", "churn"])
        lane = resources_pb2.LaneRoutes(
            model="churn",
            epoch=epoch,
            arms=[
                resources_pb2.RouteArm(arm="test", version="v2", share_bps=test_share, endpoints=test),
                resources_pb2.RouteArm(arm="control", version="v1", share_bps=control, endpoints=stable),
                resources_pb2.RouteArm(
                    arm="stable", version="v1", share_bps=10_000 - test_share - control, endpoints=stable
                ),
            ],
            wanted=[
                resources_pb2.WantedVersion(version="v1", endpoints=stable, signature=signature),
                resources_pb2.WantedVersion(version="v2", endpoints=test, signature=signature),
            ],
            stable_version="v1",
            test_version="v2",
        )
        before = self.app.proxy.table.revision
        await self.registry.set_lanes(lane)
        await until(lambda: self.app.proxy.table.revision > before)

    async def attempts(self) -> dict[tuple[str, str, str], int]:
        """Charged attempts by (version, traffic, outcome), as GetMetrics tells them."""
        async with aio.insecure_channel(self.app.address) as channel:
            stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)
            request = telemetry_pb2.GetMetricsRequest(names=[catalog.ATTEMPT_DURATION.name], model="churn")
            answer = await stub.GetMetrics(request)
        return {
            (one.attributes[1], one.attributes[2], one.attributes[4]): sum(one.counts)
            for one in otlp.decode(answer.metrics_data).snapshots
        }
