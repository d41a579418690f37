"""The Registry's wiring."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable, Iterable
from typing import Final

from grpc import aio
from sqlalchemy.engine import Engine

from crossfade.registry.v1 import service_pb2
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from registry.database import schema
from registry.database.clock import ClockKeeper, DatabaseClock, database_time
from registry.database.engine import open_engine, parse_url
from registry.database.unit_of_work import SqlUnitOfWork
from registry.meters import Meters
from registry.offload import Offload
from registry.service.history import HistoryService
from registry.service.instances import InstanceService
from registry.service.lane_actions import LaneService
from registry.service.looks import LookService
from registry.service.models import ModelService
from registry.service.monitors import MonitorService
from registry.service.requests import Mutations
from registry.service.retention import RetentionService
from registry.service.rollouts import RolloutService
from registry.service.segments import SegmentService
from registry.service.undisturbed import Undisturbed
from registry.service.versions import VersionService
from registry.service.webhooks import WebhookService
from registry.servicer.calls import Calls
from registry.servicer.registry import RegistryServicer, Services
from registry.settings import RegistrySettings
from registry.upkeep import Upkeep
from registry.watch_hub import WatchHub
from registry.webhooks.config import read_webhooks
from registry.webhooks.courier import Courier
from registry.webhooks.sender import HttpSender
from services.common.clock import Clock, SystemClock, steady_ns
from services.common.loops import begun_again
from services.common.server import Server
from services.common.setting_files import read_text
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.prometheus import MetricsPage
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from services.common.telemetry.tracing import Tracing

_BACKGROUND_THREADS: Final = 2
_WATCH_THREADS: Final = 2
"""Where watches begin is read by these alone: whoever begins many of them delays no sweep and no change of routes."""
SERVICE_NAME: Final = "crossfade-registry"
_SERVICES: Final = tuple(
    contract.DESCRIPTOR.services_by_name[name].full_name
    for contract, name in ((service_pb2, "RegistryService"), (telemetry_pb2, "TelemetryService"))
)


def open_database(settings: RegistrySettings) -> Engine:
    """The engine that the settings name.

    Raises:
        DatabaseUrlError: there is none, or it is no database of ours.
        SettingFileError: the password's file cannot be read.
    """
    url = parse_url(settings.database)
    if settings.database_password_file is not None:
        url = url.set(password=read_text("CROSSFADE_DATABASE_PASSWORD_FILE", settings.database_password_file).strip())
    return open_engine(url, settings.database_connections + _BACKGROUND_THREADS + _WATCH_THREADS)


class App:
    """The Registry of one process.

    Args:
        settings: where to listen, which database.
        clock: the time. Default: the database's.
        machine: keeps the database's time between two looks at it.
        uniform: draws the pauses between attempts at a webhook.

    Raises:
        AddressError: it cannot listen where it was told to.
        DatabaseUrlError: the database's URL cannot be used.
        WebhookFileError: the file of webhooks cannot be used.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        clock: Clock | None = None,
        *,
        machine: Clock | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._log = make_log(SERVICE_NAME, settings.log_level)
        self._engine = open_database(settings)
        of_database = DatabaseClock(lambda: database_time(self._engine), machine or SystemClock())
        machine = machine or clock or SystemClock()
        clock = clock or of_database
        instance_id = str(uuid.uuid4())
        self._tracing = Tracing(SERVICE_NAME, instance_id, settings.otlp_endpoint, settings.trace_ratio)
        self._store = MetricStore()
        self._meters = Meters(self._store)
        webhooks = () if settings.webhooks is None else read_webhooks(settings.webhooks)
        unit_of_work = SqlUnitOfWork(
            self._engine, clock, self._committed, self._meters.transaction, self._riddle, webhooks=webhooks
        )
        self._foreground = Offload(unit_of_work, settings.database_connections, "registry")
        self._background = Offload(unit_of_work, _BACKGROUND_THREADS, "upkeep")
        self._watches = Offload(unit_of_work, _WATCH_THREADS, "watches")
        self._keeper = ClockKeeper(of_database, self._background, self._log)
        self._hub = WatchHub(
            self._background,
            self._watches,
            clock,
            self._log,
            poll_seconds=settings.watch_poll_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            watches_per_principal=settings.watches_per_principal,
        )
        mutations = Mutations(unit_of_work, clock)
        instances = InstanceService(
            unit_of_work,
            clock,
            debounce=settings.readiness_debounce_seconds,
            look_seconds=settings.sweep_seconds,
            revision=lambda: self._hub.latest,
        )
        lanes = LaneService(unit_of_work, mutations, clock)
        self.retention = RetentionService(unit_of_work, clock, settings.kept, machine)
        self.upkeep = Upkeep(
            instances,
            lanes,
            self.retention,
            Undisturbed((clock, machine)),
            self._background,
            clock,
            self._log,
            self._serve_while,
            sweep_seconds=settings.sweep_seconds,
        )
        self._courier = Courier(
            webhooks,
            self._background,
            HttpSender(),
            clock,
            self._log,
            poll_seconds=settings.webhook_poll_seconds,
            on_backlog=self._meters.undelivered,
            uniform=uniform,
        )
        servicer = RegistryServicer(
            Calls(clock, self._foreground, settings.give_way_seconds),
            Services(
                models=ModelService(unit_of_work, mutations),
                versions=VersionService(unit_of_work, mutations),
                history=HistoryService(unit_of_work, clock),
                lanes=lanes,
                segments=SegmentService(mutations),
                rollouts=RolloutService(unit_of_work, mutations, clock),
                looks=LookService(unit_of_work, mutations),
                instances=instances,
                monitors=MonitorService(unit_of_work, mutations),
                webhooks=WebhookService(unit_of_work, webhooks),
            ),
            hub=self._hub,
            tracer=self._tracing.tracer,
            log=self._log,
        )
        self._resource = Resource(SERVICE_NAME, instance_id, steady_ns())
        telemetry = TelemetryServicer(self._resource, self._collect)

        def register(server: aio.Server) -> None:
            servicer.register(server)
            telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(telemetry, server)

        self._server = Server(settings, self._log, _SERVICES, register, calls=False, instance_id=instance_id)
        self._page: MetricsPage | None = None
        self.address = self._server.address
        """host:port that it listens on."""
        self._tasks: list[asyncio.Task[None]] = []
        self._serving = True

    async def start(self) -> None:
        """Checks the schema and serves.

        Raises:
            SchemaError: the database's schema is not this release's, or it does not answer.
        """
        await self._background.call(lambda: schema.check(self._engine))
        if not await self._keeper.once():
            raise schema.SchemaError("the database has gone away while this Registry started: start it again")
        self._meters.open()
        await self._hub.open()
        runs = (self._keeper.run, self._hub.run, self.upkeep.run, self.upkeep.run_forgetting, self._courier.run)
        self._tasks = [asyncio.create_task(begun_again(run, self._log)) for run in runs]
        await self._server.start()
        if self._settings.metrics_listen:
            self._page = MetricsPage(self._settings, self._resource, self._collect, self._log, self._server.certificate)
        self._server.set_serving(True)

    async def stop(self) -> None:
        """Ends watches, waits for calls in flight, and lets go of the database."""
        self._hub.close()
        await self._server.stop()
        if self._page is not None:
            await asyncio.to_thread(self._page.close)
        await self._courier.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        # What runs waits for the database, and the loop has other things to do meanwhile.
        await asyncio.to_thread(self._foreground.close)
        await asyncio.to_thread(self._watches.close)
        await asyncio.to_thread(self._background.close)
        self._engine.dispose()
        await self._tracing.close()

    async def _serve_while(self, answers: bool) -> None:
        """Says in health whether the database answers; calls are taken all the same, and told what to do."""
        if answers != self._serving:
            self._serving = answers
            self._server.set_serving(answers)

    async def _collect(self, model: str = "") -> Iterable[Snapshot]:
        del model
        self._meters.watching(self._hub.watchers, self._hub.latest)
        return (*self._store.snapshot(), *self._server.series())

    def _committed(self, revision: int) -> None:
        self._hub.committed(revision)

    def _riddle(self, said: str) -> None:
        self._log.error("the database goes on failing, and gives no code for why", said=said)
