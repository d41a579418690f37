"""The Worker's wiring: supervisor, routes, lease, telemetry."""

import asyncio
import uuid
from functools import cache
from typing import Final

from grpc import aio

from crossfade.architecture import ArchitectureError, find
from crossfade.registry.v1 import resources_pb2
from crossfade.telemetry.v1 import telemetry_pb2_grpc
from services.common.channels import Channels
from services.common.clock import Clock, SystemClock, steady_ns
from services.common.contact import REGISTRY_HEALTH, Contact, tell
from services.common.lease import Lease
from services.common.loops import begun_again
from services.common.server import Server, is_loopback, split_address
from services.common.telemetry import operations
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.prometheus import MetricsPage
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from services.common.watch import Lanes, RouteWatch
from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.trust import Trust
from services.worker.credentials import read_credentials
from services.worker.gpus import check_device
from services.worker.settings import WorkerSettings
from services.worker.supervisor.ports import Ports
from services.worker.supervisor.process import ForkServer
from services.worker.supervisor.routes import instance_of, lanes_of
from services.worker.supervisor.supervisor import Supervisor

_TELEMETRY = "crossfade.telemetry.v1.TelemetryService"
VERSIONS_HEALTH: Final = "crossfade.worker.versions"
"""The service of grpc.health.v1 by which a Worker says whether all is ready that the Registry wants of it."""
_END_MARGIN_SECONDS = 15.0


class App:
    """One Worker. Made on a running event loop.

    Args:
        settings: where to listen, where the Registry is, how to run versions.
        clock: times crashes, limits and retries.

    Raises:
        AddressError: the address is in use, exposed without TLS, or none, or others could not dial it.
        ValueError: a setting does not make sense; the message says which.
    """

    def __init__(self, settings: WorkerSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._log = make_log("crossfade-worker", settings.log_level)
        check_device(settings.device)
        # They are read for each version's process; a file that is wrong is said here, before anything runs.
        read_credentials(settings)
        trust = None if settings.trusted_keys is None else Trust(settings.trusted_keys)
        if trust is None and not settings.allow_unsigned and not is_loopback(settings.listen):
            raise ValueError(
                f"a Worker that other machines reach ({settings.listen}) loads only artifacts that a key it trusts has "
                "signed: set CROSSFADE_TRUSTED_KEYS (`crossfade certs signing` makes a key, `crossfade sign` signs), "
                "or CROSSFADE_ALLOW_UNSIGNED=true"
            )
        for name in sorted(settings.allowed_architectures):
            try:
                find(name)
            except ArchitectureError as error:
                # Versions that do without it are served all the same.
                self._log.warning("an allowed architecture cannot be built", reason=str(error))
        self.instance_id = str(uuid.uuid4())
        resource = Resource("crossfade-worker", self.instance_id, steady_ns())

        def register(server: aio.Server) -> None:
            servicer = TelemetryServicer(resource, self._counts)
            telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(servicer, server)

        self._server = Server(settings, self._log, [_TELEMETRY], register, instance_id=self.instance_id)
        self.address = self._server.address
        host, _ = split_address(settings.listen)
        self._advertised = self._server.advertised
        advertised, _ = split_address(self._advertised)
        channels = Channels(settings)
        self._channel = channels.open_replicas(settings.registry)
        self._reports = channels.open_replicas(settings.registry)
        self._lease = Lease(self._reports, self._describe, settings.lease_seconds, self._log)
        clock = clock or SystemClock()
        self._store = MetricStore()
        self._contact = Contact(clock)
        self._routed = False
        self._mine: Lanes = {}
        self._has_model = cache(settings.has_model)
        self._watch = RouteWatch(self._channel, self._on_routes, self._contact.touch, self._log)
        self._forks = ForkServer(settings.threads, settings.load_seconds, own=settings.version_threads > 0)
        self.supervisor = Supervisor(
            settings,
            self.instance_id,
            clock=clock,
            log=self._log,
            cache=ArtifactCache(
                settings.artifact_cache, settings.artifact_cache_bytes, trust, settings.allowed_sources
            ),
            forks=self._forks,
            ports=Ports(host, advertised, settings.allowed_ports),
            on_change=self._changed,
        )
        self._page: MetricsPage | None = None
        if settings.metrics_listen:
            self._page = MetricsPage(settings, resource, self._counts, self._log, self._server.certificate)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serves telemetry, follows the routes and reports."""
        self._forks.warm_up()
        await self._server.start()
        loop = asyncio.get_running_loop()
        loops = (self.supervisor.run, self._watch.run, self._lease.run, self._tell)
        self._tasks = [loop.create_task(begun_again(work, self._log)) for work in loops]
        self._server.set_serving(True)

    async def stop(self) -> None:
        """Drains every version, reporting so meanwhile, then leaves."""
        if self._tasks:
            self._server.set_serving(False)
            self.supervisor.stop()
            supervising, *others = self._tasks
            # Every process has its limit, so that more time than this is a fault, which must not keep us from ending.
            limit = 2 * self._settings.drain_seconds + self._settings.quiet_seconds + _END_MARGIN_SECONDS
            await asyncio.wait({supervising}, timeout=limit)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(supervising, *others, return_exceptions=True)
            await self._lease.leave()
        self.supervisor.close()
        if self._page is not None:
            self._page.close()
        await self._server.stop()
        await self._channel.close()
        await self._reports.close()

    def _on_routes(self, revision: int, lanes: Lanes) -> None:
        self._log.debug("routes", revision=revision)
        mine = {lane: routes for lane, routes in lanes.items() if self._has_model(lane[0])}
        # Most changes are of others' models, of which there may be thousands.
        same = self._mine.keys() == mine.keys() and all(self._mine[lane] is routes for lane, routes in mine.items())
        if not (self._routed and same):
            self._mine = mine
            self.supervisor.follow(lanes_of(mine.values()))
        self._routed = True

    def _changed(self) -> None:
        self._lease.changed()
        self._server.set_serving(self._complete(), VERSIONS_HEALTH)

    def _complete(self) -> bool:
        """Whether it is known what is wanted, and all of it is ready."""
        return self._routed and self.supervisor.complete

    async def _tell(self) -> None:
        states = ((REGISTRY_HEALTH, lambda: self._contact.heard), (VERSIONS_HEALTH, self._complete))
        await tell(self._server.set_serving, *states)

    def _describe(self) -> resources_pb2.Instance:
        return instance_of(self.instance_id, self._advertised, self.supervisor.servings())

    async def _counts(self, model: str = "") -> list[Snapshot]:
        if model:
            return await self.supervisor.counts(model)
        self._store.gauge(operations.CONTACT_AGE).set(self._contact.age)
        return [*await self.supervisor.counts(), *self._store.snapshot(), *self._server.series()]
