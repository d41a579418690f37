"""A front-end of a version: its gRPC server, what it knows of the lanes, and what it counts."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from crossfade.manifest import MANIFEST_FILE, Manifest, ManifestError, loads
from crossfade.reference_profile import Profile
from services.common import guard
from services.common.clock import SystemClock
from services.common.health import Health
from services.common.own_certificate import OwnCertificate
from services.common.server import FOR_STREAMS, LONG_CALLS
from services.common.stream_infer import StreamInfer
from services.common.telemetry.logs import make_log
from services.common.telemetry.store import MetricStore, Snapshot
from services.common.telemetry.tracing import Tracing
from services.worker.front_end.counting import Counting
from services.worker.front_end.finite_inputs import FiniteInputs
from services.worker.front_end.inference import InferenceServicer
from services.worker.front_end.lanes import LaneBook
from services.worker.front_end.overload import Overload
from services.worker.front_end.processors import give_way
from services.worker.front_end.ranges import Ranges
from services.worker.front_end.runner import Runner
from services.worker.front_end.servicer import CountLabels, PredictServicer
from services.worker.front_end.single_rows import Here
from services.worker.front_end.spans import Spans
from services.worker.pipes import messages
from services.worker.process_config import ChildConfig
from services.worker.shared_memory.exchange import Exchange

# The supervisor keeps the port reserved with a socket that is bound and never listens; front-ends share it.
OPTIONS: Final = tuple({**dict(LONG_CALLS), "grpc.so_reuseport": 1}.items())
_SERVICES = ("", "crossfade.predict.v1.PredictionService", "inference.GRPCInferenceService")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a verified artifact."""
    return loads((folder / MANIFEST_FILE).read_bytes())


class FrontEnd:
    """Serves one version under one address; several of them may share it.

    Args:
        config: what is served, where.
        manifest: the version's.
        precision: what it runs in.
        exchange: shared with the engine.
        bounds: of each input's numbers; see `index_bounds`.
        store: where it counts.
        count_labels: counts labels; None: Feedback is refused.
        on_lost: called when the engine has ended.
        here: runs a row that comes alone; None: the engine runs all.
    """

    def __init__(
        self,
        config: ChildConfig,
        manifest: Manifest,
        precision: str,
        exchange: Exchange,
        *,
        bounds: Sequence[int],
        store: MetricStore,
        count_labels: CountLabels | None,
        on_lost: Callable[[], None],
        here: Here | None = None,
    ) -> None:
        settings, key = config.settings, config.key
        self._config = config
        self._clock = SystemClock()
        self._log = make_log("crossfade-worker", settings.log_level).bind(serving=str(key))
        self._counting = Counting(store, key.model, key.version, manifest, precision)
        self._lanes = LaneBook(key)
        self._tracing = Tracing("crossfade-worker", config.instance_id, settings.otlp_endpoint, settings.trace_ratio)
        self._servicer = PredictServicer(
            key,
            manifest,
            lanes=self._lanes,
            counting=self._counting,
            clock=self._clock,
            spans=Spans(self._tracing, self._clock),
            token_keys=config.credentials.token_keys,
            feedback=count_labels,
        )
        self._runner = Runner(
            exchange,
            self._clock,
            classifies=manifest.scores is not None,
            on_batch=self._servicer.on_batch,
            on_lost=on_lost,
            on_full=Overload(self._clock, partial(give_way, config.cores if config.pinned else None)).refused,
            checks=(
                FiniteInputs(manifest.signature, manifest.nan_policy).check,
                Ranges(manifest.signature, bounds).check,
            ),
            here=here,
        )
        self._servicer.attach(self._runner)
        self._streams = StreamInfer(self._log)
        self._health = Health()
        self._server = self._make_server()

    async def start(self) -> None:
        """Begins to serve."""
        await self._server.start()
        for service in ("", *_SERVICES):
            self._health.set(service, serving=True)

    def tell(self, order: messages.Tell) -> None:
        """Takes over what it is told of its lanes."""
        self._lanes.update(order.context)
        self._counting.keep_epochs(self._lanes.epochs)
        profiles = map(self._profile, order.profiles)
        self._counting.compare_with([profile for profile in profiles if profile is not None])

    def snapshot(self) -> list[Snapshot]:
        """Everything it has counted."""
        self._counting.keep_lanes(self._lanes.segments, self._clock.monotonic())
        return self._counting.snapshot()

    async def drain(self, order: messages.Drain) -> None:
        """Serves on until it has been quiet: callers learn of the end a moment later than this process."""
        if not await self._quiet(order.quiet_seconds, order.limit_seconds):
            # Somebody calls on. grpc would cancel what arrives while it stops; this way it is told to go elsewhere.
            self._close()
            self._servicer.end_streams()
            await self._quiet(order.quiet_seconds, order.quiet_seconds)

    async def stop(self) -> None:
        """Ends, and lets the engine end."""
        self._close()
        self._health.end()
        seconds = self._config.settings.drain_seconds
        ending = asyncio.get_running_loop().call_later(FOR_STREAMS * seconds, self._servicer.end_streams)
        await self._server.stop(seconds)
        ending.cancel()
        self._runner.close()

    async def close_traces(self) -> None:
        """Sends the last spans; to be called when the counts are handed over, for it may take its time."""
        await self._tracing.close()

    def _profile(self, folder: str) -> Profile | None:
        """The profile of another version's artifact; without it requests are answered all the same."""
        try:
            return read_manifest(Path(folder)).profile
        except (OSError, ManifestError) as error:
            self._log.warning(
                "inputs are not compared with another version's profile", folder=folder, reason=str(error)
            )
            return None

    def _close(self) -> None:
        """Takes no more requests."""
        self._servicer.activity.closing = True
        self._streams.close()

    def _make_server(self) -> aio.Server:
        settings = self._config.settings
        server = aio.server(options=OPTIONS)
        guarded: Any = guard.GuardedServer(server, guard.Guard(guard.authentication(settings), self._log))
        inference = InferenceServicer(self._servicer, self._streams)
        guarded.add_generic_rpc_handlers((self._servicer.handlers(), inference.handlers()))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, guarded)
        if self._config.credentials.tls is not None:
            own = OwnCertificate(settings, self._log, contents=self._config.credentials.tls)
            server.add_secure_port(self._config.address, own.credentials())
        else:
            server.add_insecure_port(self._config.address)
        return server

    async def _quiet(self, quiet_seconds: float, limit_seconds: float) -> bool:
        """Waits until no request was under way for so long; false: not within the limit."""
        activity, now = self._servicer.activity, self._clock.monotonic
        begun = now()
        while True:
            quiet = 0.0 if activity.in_flight else now() - max(begun, activity.latest)
            if not activity.in_flight and quiet >= quiet_seconds:
                return True
            if now() - begun >= limit_seconds:
                return False
            await asyncio.sleep(min(0.05, max(0.005, quiet_seconds - quiet)))
