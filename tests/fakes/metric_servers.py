"""What a process serves of its counters: TelemetryService, and a Prometheus page."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from grpc import aio

from crossfade.telemetry.v1 import telemetry_pb2_grpc
from services.common.settings import ServiceSettings
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.prometheus import MetricsPage
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import Snapshot
from tests.fakes.metrics import Instance


class Answer(NamedTuple):
    """The counts that a process has served, and of which moment, in seconds since 1970-01-01 UTC."""

    time: float
    snapshots: tuple[Snapshot, ...]


@dataclass(slots=True)
class MetricServer:
    """A process's TelemetryService on a port of its own.

    Attributes:
        instance: whose counters it serves.
        address: where; empty: anywhere.
        answers: what it has served, oldest first.
    """

    instance: Instance
    address: str = ""
    answers: list[Answer] = field(default_factory=list)
    _server: aio.Server | None = None

    async def start(self) -> None:
        """Serves."""
        self._server = aio.server(options=(("grpc.so_reuseport", 0),))
        resource = Resource("crossfade-worker", self.instance.name, time.time_ns())
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(
            TelemetryServicer(resource, self._collect), self._server
        )
        port = self._server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        """Ends at once."""
        if self._server is not None:
            await self._server.stop(None)

    async def _collect(self, model: str = "") -> Iterable[Snapshot]:
        del model
        snapshots = self.instance.store.snapshot()
        self.answers.append(Answer(time.time(), tuple(snapshots)))
        return snapshots


@dataclass(slots=True)
class PageServer:
    """A process's Prometheus page on a port of its own."""

    instance: Instance
    address: str = ""
    _page: MetricsPage | None = None

    def start(self) -> None:
        """Serves; what is counted is read on the running loop."""
        resource = Resource("crossfade-worker", self.instance.name, time.time_ns())
        settings = ServiceSettings(metrics_listen=self.address or "127.0.0.1:0")
        self._page = MetricsPage(settings, resource, self._collect, make_log("test", "error"))
        self.address = f"127.0.0.1:{self._page.port}"

    async def stop(self) -> None:
        """Ends at once."""
        if self._page is not None:
            await asyncio.to_thread(self._page.close)
            self._page = None

    async def _collect(self) -> Iterable[Snapshot]:
        return self.instance.store.snapshot()
