"""The Evaluator's wiring."""

import asyncio
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import structlog
from grpc import aio
from opentelemetry import context as otel_context

from crossfade.connection import USER_KEY
from crossfade.evaluator.v1 import evaluator_pb2_grpc
from crossfade.registry.v1 import resources_pb2
from crossfade.telemetry.v1 import telemetry_pb2_grpc
from evaluator.meters import Meters
from evaluator.monitor.loop import MonitorLoop
from evaluator.monitor.service import Monitor
from evaluator.questions.questions import Questions
from evaluator.rollouts.loop import Loop
from evaluator.rollouts.service import Evaluator
from evaluator.rollouts.spans import Spans
from evaluator.rpc.registry_client import RegistryClient
from evaluator.rpc.servicer import EvaluatorServicer
from evaluator.settings import EvaluatorSettings
from evaluator.sources.instances import InstanceSource
from evaluator.sources.own_metrics import OwnMetrics
from evaluator.sources.prometheus_access import access_of
from evaluator.sources.prometheus_http import PrometheusHttp
from evaluator.sources.prometheus_source import PrometheusSource
from evaluator.sources.traces import RouterTraces
from services.common.channels import Channels
from services.common.clock import Clock, SystemClock, steady_ns
from services.common.contact import REGISTRY_HEALTH, Contact, tell
from services.common.lease import Lease
from services.common.loops import begun_again
from services.common.server import Server
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.prometheus import MetricsPage
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from services.common.telemetry.tracing import Tracing, inject

_SERVICES: Final = ("crossfade.evaluator.v1.EvaluatorService", "crossfade.telemetry.v1.TelemetryService")
_SERVICE_NAME: Final = "crossfade-evaluator"
_USER: Final = "evaluator"
"""Who acts in a local trial; with TLS the certificate says it."""


class App:
    """One Evaluator.

    Args:
        settings: where to listen and whom to ask.
        clock: time.
        log: where its lines go.

    Raises:
        AddressError: it cannot listen there, or others could not dial it.
        ValueError: the settings contradict each other.
    """

    def __init__(
        self,
        settings: EvaluatorSettings,
        clock: Clock | None = None,
        log: structlog.typing.FilteringBoundLogger | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._log = log or make_log(_SERVICE_NAME, settings.log_level)
        self.instance_id = str(uuid.uuid4())
        self._store = MetricStore()
        self._meters = Meters(self._store)
        self._tracing = Tracing(_SERVICE_NAME, self.instance_id, settings.otlp_endpoint, settings.trace_ratio)
        self._channels = Channels(settings, self._clock.now)
        self._channel = self._channels.open_replicas(settings.registry)
        self._reports = self._channels.open_replicas(settings.registry)
        registry = RegistryClient(self._channel, self._metadata, settings.registry_seconds)
        self._prometheus = PrometheusHttp(access_of(settings)) if settings.evaluator_prometheus else None
        self._processes = self._open_source()
        self._source = OwnMetrics(self._processes, self._prometheus, self._clock)
        evaluator = Evaluator(
            registry,
            self._source,
            clock=self._clock,
            spans=Spans(self._tracing.tracer),
            traces=RouterTraces(self._connect, self._identity()),
            meters=self._meters,
            log=self._log,
            scrape_seconds=settings.scrape_seconds,
        )
        self._contact = Contact(self._clock)
        self._questions = Questions(registry, self._source)
        self._loop = Loop(
            registry,
            evaluator,
            self._meters,
            clock=self._clock,
            log=self._log,
            poll_seconds=settings.poll_seconds,
            contact=self._contact,
        )
        monitor = Monitor(
            registry,
            self._source,
            clock=self._clock,
            log=self._log,
            interval=settings.monitor_seconds,
            scrape_seconds=settings.scrape_seconds,
        )
        interval = settings.monitor_seconds
        self._monitor = MonitorLoop(registry, monitor, clock=self._clock, log=self._log, interval=interval)
        self._resource = Resource(_SERVICE_NAME, self.instance_id, steady_ns())
        self._telemetry = TelemetryServicer(self._resource, self._collect)
        self._lease = Lease(self._reports, self._describe, settings.lease_seconds, self._log)
        self._server = Server(settings, self._log, _SERVICES, self._register, instance_id=self.instance_id)
        self.address = self._server.address
        self._advertised = self._server.advertised
        self._page: MetricsPage | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serves, and begins to look."""
        await self._server.start()
        if self._settings.metrics_listen:
            self._page = MetricsPage(self._settings, self._resource, self._collect, self._log, self._server.certificate)
        runs = (self._lease.run, self._loop.run, self._monitor.run, self._tell)
        self._tasks = [asyncio.create_task(begun_again(run, self._log)) for run in runs]
        self._server.set_serving(True)

    async def stop(self) -> None:
        """Ends between two looks, wherever it is: the next Evaluator goes on from what is recorded."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._lease.leave()
        await self._server.stop()
        if self._page is not None:
            await asyncio.to_thread(self._page.close)
        await self._processes.close()
        if self._prometheus is not None:
            await self._prometheus.close()
        await self._channel.close()
        await self._reports.close()
        await self._tracing.close()

    async def _tell(self) -> None:
        await tell(self._server.set_serving, (REGISTRY_HEALTH, lambda: self._contact.heard))

    def _register(self, server: aio.Server) -> None:
        evaluator_pb2_grpc.add_EvaluatorServiceServicer_to_server(EvaluatorServicer(self._questions), server)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(self._telemetry, server)

    def _open_source(self) -> InstanceSource | PrometheusSource:
        if self._prometheus is not None and not self._settings.evaluator_prometheus_own_only:
            return PrometheusSource(self._prometheus, self._clock)
        return InstanceSource(self._connect, self._clock, self._identity())

    def _connect(self, address: str) -> aio.Channel:
        return self._channels.open(address)

    def _identity(self) -> tuple[tuple[str, str], ...]:
        return () if self._settings.tls else ((USER_KEY, _USER),)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (*self._identity(), *inject(otel_context.get_current()))

    def _describe(self) -> resources_pb2.Instance:
        return resources_pb2.Instance(
            instance_id=self.instance_id,
            kind=resources_pb2.INSTANCE_KIND_EVALUATOR,
            address=self._advertised,
        )

    async def _collect(self, model: str = "") -> Iterable[Snapshot]:
        del model
        self._meters.watched(self._loop.watched, self._contact.age)
        return (*self._store.snapshot(), *self._server.series())
