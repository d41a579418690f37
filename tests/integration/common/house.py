"""A server with one service, and what calls it."""

import asyncio
from pathlib import Path
from typing import Any

import structlog
from grpc import aio

from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from services.common.server import OPTIONS, Options, Server
from services.common.settings import ServiceSettings
from services.common.telemetry import catalog
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from tests.support.channels import open_channel

LOG = make_log("test", "critical")
RESOURCE = Resource("test", "1", 0)


class House:
    """A server with one service, and what it counts; and further ones that it names."""

    def __init__(
        self,
        settings: ServiceSettings,
        log: structlog.typing.FilteringBoundLogger = LOG,
        services: tuple[str, ...] = (),
        options: Options = OPTIONS,
    ) -> None:
        self.store = MetricStore()
        self.store.histogram(catalog.ROUTE_DURATION, "churn", "v1", "live", "", "ok").record(0.003)
        self.error: Exception | None = None
        self.errors: list[Exception] = []
        """What the next calls end with, each one of them."""
        self.release = asyncio.Event()
        self.release.set()
        self.asked = 0
        """How often its counts were asked for."""
        telemetry = TelemetryServicer(RESOURCE, self.collect)

        def register(server: aio.Server) -> None:
            telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(telemetry, server)

        self.server = Server(
            settings, log, ("crossfade.telemetry.v1.TelemetryService", *services), register, None, options
        )

    async def collect(self, model: str = "") -> list[Snapshot]:
        del model
        self.asked += 1
        await self.release.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.error is not None:
            raise self.error
        return self.store.snapshot()


async def read(house: House, settings: ServiceSettings) -> telemetry_pb2.GetMetricsResponse:
    async with open_channel(house.server.address, settings) as channel:
        stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        answer: telemetry_pb2.GetMetricsResponse = await stub.GetMetrics(telemetry_pb2.GetMetricsRequest(), timeout=5)
        return answer


def files(folder: Path, who: str, ca: str = "dev", **more: Any) -> ServiceSettings:
    return ServiceSettings(
        listen="127.0.0.1:0",
        tls_certificate=folder / ca / f"{who}.pem",
        tls_key=folder / ca / f"{who}.key",
        tls_ca=folder / ca / "ca.pem",
        **more,
    )
