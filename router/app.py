"""The Router's wiring."""

import asyncio
import random
import uuid
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

import structlog
from grpc import aio

from crossfade.registry.v1 import resources_pb2, service_pb2
from crossfade.router.v1 import router_pb2_grpc
from crossfade.telemetry.v1 import telemetry_pb2_grpc
from router.explaining import RouterServicer
from router.meters import Meters
from router.noted_traces import NotedTraces
from router.pair_notes import PairNotes
from router.peers import Peers
from router.proxy import Proxy
from router.routes import TableMaker
from router.servicer import PREDICTION_SERVICE, PredictHandlers
from router.settings import RouterSettings
from router.spans import Spans
from router.table_file import TableFile
from router.transport import GrpcTransport
from services.common import open_inference
from services.common.channels import Channels
from services.common.clock import Clock, SystemClock, steady_ns
from services.common.contact import LOST_SECONDS, REGISTRY_HEALTH, TELL_SECONDS, Contact
from services.common.feedback import FeedbackBook
from services.common.lease import Lease
from services.common.loops import begun_again
from services.common.server import FOR_STREAMS, LONG_CALLS, Server
from services.common.setting_files import read_token_keys
from services.common.stream_infer import StreamInfer
from services.common.telemetry import catalog, operations
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.prometheus import MetricsPage
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from services.common.telemetry.tracing import Tracing
from services.common.watch import Lanes, RouteWatch

_SERVICES: Final = (PREDICTION_SERVICE, open_inference.SERVICE, "crossfade.router.v1.RouterService")
_REFLECTED: Final = "crossfade.telemetry.v1.TelemetryService"
_SERVICE_NAME: Final = "crossfade-router"


class App:
    """One Router.

    Args:
        settings: where to listen and whom to ask.
        clock: time.
        log: where its lines go.

    Raises:
        AddressError: it cannot listen there, or others could not dial it.
        ValueError: a file that a setting names cannot be used; the message names both.
    """

    def __init__(
        self,
        settings: RouterSettings,
        clock: Clock | None = None,
        log: structlog.typing.FilteringBoundLogger | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._log = log or make_log(_SERVICE_NAME, settings.log_level)
        self.instance_id = str(uuid.uuid4())
        keys = read_token_keys(settings.token_keys)
        self._store = MetricStore()
        self._tracing = Tracing(_SERVICE_NAME, self.instance_id, settings.otlp_endpoint, settings.trace_ratio)
        channels = Channels(settings, self._clock.now)
        self._registry = channels.open_replicas(settings.registry)
        self._reports = channels.open_replicas(settings.registry)
        # Not for secrets: it spreads requests over arms and processes.
        rng = random.Random()  # noqa: S311
        self._transport = GrpcTransport(channels, self._clock, rng, self._log)
        self.book = FeedbackBook(keys, self._store, self._clock, self._classes)
        self.peers = Peers(self.instance_id, self._registry, self.book, channels, self._log, self._clock.monotonic)
        self.notes = PairNotes(self.peers, self.book)
        self.proxy = Proxy(self._transport, Meters(self._store), self._clock, rng.random, self.notes.note)
        self._tables = TableMaker()
        self._noted = NotedTraces()
        spans = Spans(self._tracing, self._clock, self._noted)
        self._streams = StreamInfer(self._log)
        self._handlers = PredictHandlers(self.proxy, self.peers, spans, self._clock, self._streams)
        self._resource = Resource(_SERVICE_NAME, self.instance_id, steady_ns())
        self._telemetry = TelemetryServicer(self._resource, self._collect)
        self._contact = Contact(self._clock)
        self._watch = RouteWatch(self._registry, self._use, self._contact.touch, self._log)
        self._lease = Lease(self._reports, self._describe, settings.lease_seconds, self._log)
        self._table_file = TableFile(settings.table_file, self._log) if settings.table_file is not None else None
        self._routed = asyncio.Event()
        self._server = Server(
            settings,
            self._log,
            (*_SERVICES, _REFLECTED),
            self._register,
            settings.maximum_concurrent_rpcs,
            LONG_CALLS,
            instance_id=self.instance_id,
        )
        self.address = self._server.address
        self._advertised = self._server.advertised
        self._page: MetricsPage | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._housekeeping: set[asyncio.Task[None]] = set()

    def _register(self, server: aio.Server) -> None:
        self._handlers.register(server)
        router_pb2_grpc.add_RouterServiceServicer_to_server(RouterServicer(self.proxy, self._noted, self.book), server)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(self._telemetry, server)

    async def start(self) -> None:
        """Serves; from the table on disk when the Registry is away."""
        await self._server.start()
        if self._table_file is not None:
            saved = self._table_file.load()
            if saved is not None:
                self._use_saved(saved, self._table_file)
        if self._settings.metrics_listen:
            self._page = MetricsPage(self._settings, self._resource, self._collect, self._log, self._server.certificate)
        loops = (self._watch.run, self._report, self.peers.run, self.notes.run, self._tell_contact)
        self._tasks = [asyncio.create_task(begun_again(loop, self._log)) for loop in loops]

    async def stop(self) -> None:
        """Leaves, lets the calls in flight end, and closes everything."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._routed.is_set():
            await self._lease.leave()
        self._streams.close()
        ending = asyncio.get_running_loop().call_later(
            FOR_STREAMS * self._settings.drain_seconds, self.proxy.end_streams
        )
        await self._server.stop()
        ending.cancel()
        if self._page is not None:
            await asyncio.to_thread(self._page.close)
        if self._table_file is not None:
            await self._table_file.close()
        await self.peers.close()
        await self.proxy.close()
        await self._transport.close()
        await self._registry.close()
        await self._reports.close()
        await self._tracing.close()

    def _use(self, revision: int, lanes: Lanes) -> None:
        now = self._clock.monotonic()
        table = self._tables.make(revision, lanes, self.proxy.table, now, self._contact.since)
        self._transport.connect(self._tables.reached)
        self._transport.name(self._tables.named)
        self.proxy.use(table)
        self.book.follow({key: lane.epoch for key, lane in table.lanes.items()})
        self._routed.set()
        if self._table_file is not None:
            self._table_file.keep(revision, lanes.values())
        self._later(self._settle())

    def _use_saved(self, saved: service_pb2.WatchRoutesResponse, file: TableFile) -> None:
        try:
            self._use(saved.revision, {(lane.model, lane.segment): lane for lane in saved.lanes})
        except ValueError as error:
            # Damaged where it can be read all the same, or of a release that has other arms.
            file.say_unusable(str(error))
        else:
            self._log.info("serving the table on disk until the Registry answers", revision=saved.revision)

    async def _report(self) -> None:
        """Takes a lease once there are routes: other Routers hand it labels from then on."""
        await self._routed.wait()
        await self._lease.run()

    async def _tell_contact(self) -> None:
        """Says in health whether the Registry is heard: the service `crossfade.registry` of this server.

        Processes without a connection are looked for as well, for the log. Addresses that were kept against its word go
        when it has been heard for long.
        """
        while True:
            # By its age alone: one that has just begun was not heard yet, and is not taken for lost.
            heard = self._contact.age < LOST_SECONDS
            self._server.set_serving(heard, REGISTRY_HEALTH)
            self._transport.look()
            if heard and self.proxy.table.keeps_too_long(self._clock.monotonic(), self._contact.since):
                self._use(self._watch.revision, self._watch.lanes)
            await asyncio.sleep(TELL_SECONDS)

    async def _settle(self) -> None:
        self._server.set_serving(True)
        await self._transport.retain()

    def _classes(self, model: str, version: str) -> tuple[str, ...] | None:
        return self.proxy.table.classes(model, version)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._housekeeping.add(task)
        task.add_done_callback(self._housekeeping.discard)

    def _describe(self) -> resources_pb2.Instance:
        return resources_pb2.Instance(
            instance_id=self.instance_id,
            kind=resources_pb2.INSTANCE_KIND_ROUTER,
            address=self._advertised,
        )

    async def _collect(self, model: str = "") -> Iterable[Snapshot]:
        if model:
            return self._store.snapshot(model)
        age = self._contact.age
        for metric in (catalog.CONTROL_PLANE_AGE, operations.CONTACT_AGE):
            self._store.gauge(metric).set(age)
        return (*self._store.snapshot(), *self._server.series())
