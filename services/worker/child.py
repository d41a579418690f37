"""The process of one version and kind of traffic: gRPC server, batcher and model together.

It is forked from a server that has imported this module, talks to the supervisor over a socket, and ends when that
socket does.
"""

import asyncio
import gc
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from crossfade.manifest import MANIFEST_FILE, Manifest, loads
from crossfade.telemetry.v1 import telemetry_pb2_grpc
from services.common import guard
from services.common.channels import server_credentials
from services.common.clock import SystemClock
from services.common.feedback import FeedbackBook
from services.common.prediction_token import TokenKeys
from services.common.server import OPTIONS
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from services.common.telemetry.tracing import Tracing
from services.worker import messages
from services.worker.batcher import Batcher
from services.worker.counting import Counting
from services.worker.domain import LoadError
from services.worker.engine import finite_rows
from services.worker.inference import InferenceServicer
from services.worker.lanes import LaneBook
from services.worker.process_config import ChildConfig
from services.worker.runner import INLINE_SECONDS, Runner
from services.worker.servicer import PredictServicer
from services.worker.settings import Handoff
from services.worker.spans import Spans
from services.worker.verify import Prepared, prepare

_ORPHAN_GRACE_SECONDS: Final = 2.0
"""How long a process that has lost its supervisor may answer what is under way."""


def main(config: ChildConfig, pipe: socket.socket) -> None:
    """Loads, verifies, reports, and serves until it is told to end."""
    # Ctrl-C reaches the whole process group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_supervisor, args=(pipe,), name="supervisor", daemon=True).start()
    try:
        manifest = read_manifest(config.folder)
        prepared = prepare(config.folder, manifest, config.settings, SystemClock(), config.ordered_at)
    except LoadError as error:
        pipe.sendall(messages.pack(messages.Failed(error.code, str(error))))
        return
    # What loading left behind lives for ever and need not be looked at again.
    gc.collect()
    gc.freeze()
    asyncio.run(_Child(config, manifest, prepared).run(pipe))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a verified artifact."""
    return loads((folder / MANIFEST_FILE).read_bytes())


def _end_with_supervisor(pipe: socket.socket) -> None:
    """Ends the process when the supervisor has gone, even if the event loop is stuck."""
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLRDHUP | select.POLLHUP)
    poll.poll()
    time.sleep(_ORPHAN_GRACE_SECONDS)
    os._exit(1)


class _Child:
    def __init__(self, config: ChildConfig, manifest: Manifest, prepared: Prepared) -> None:
        settings, key = config.settings, config.key
        self._config = config
        self._prepared = prepared
        self._clock = SystemClock()
        self._log = make_log("crossfade-worker", settings.log_level).bind(serving=str(key))
        store = MetricStore()
        self._counting = Counting(store, key.model, key.version, manifest, prepared.engine.precision)
        self._lanes = LaneBook(key)
        self._tracing = Tracing("crossfade-worker", config.instance_id, settings.otlp_endpoint, settings.trace_ratio)
        keys = TokenKeys.parse(settings.token_keys.read_text()) if settings.token_keys else None
        classes = manifest.classes

        def classes_of(model: str, version: str) -> tuple[str, ...] | None:
            return classes if (model, version) == (key.model, key.version) else None

        self._servicer = PredictServicer(
            key,
            manifest,
            lanes=self._lanes,
            counting=self._counting,
            clock=self._clock,
            spans=Spans(self._tracing, self._clock),
            token_keys=keys,
            feedback=FeedbackBook(keys, store, self._clock, classes_of) if keys else None,
        )
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, pipe: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=pipe)
        runner = self._make_runner()
        server, port_health = await self._serve()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._ended.set)
        writer.write(messages.pack(messages.Ready(self._prepared.report)))
        self._start(self._follow(reader, writer))
        await self._ended.wait()
        self._servicer.activity.closing = True
        await port_health.enter_graceful_shutdown()
        await server.stop(self._config.settings.drain_seconds)
        runner.close()
        self._tracing.close()
        if not writer.is_closing():
            # The last word: what the final requests added to the counts.
            writer.write(messages.pack_counts(0, self._counting.snapshot()))
            writer.close()

    def _make_runner(self) -> Runner:
        prepared, settings = self._prepared, self._config.settings
        engine, signature = prepared.engine, self._servicer.manifest.signature
        inline = settings.handoff is Handoff.INLINE
        if settings.handoff is Handoff.AUTO:
            inline = engine.device.type == "cpu" and prepared.largest_seconds <= INLINE_SECONDS
        runner = Runner(
            engine.run,
            Batcher(prepared.max_rows, settings.queue_rows),
            lambda arrays, start, stop: finite_rows(arrays, signature, start, stop),
            self._clock,
            inline=inline,
            on_batch=self._servicer.on_batch,
        )
        self._servicer.attach(runner)
        return runner

    async def _serve(self) -> tuple[aio.Server, health.aio.HealthServicer]:
        settings = self._config.settings
        # The supervisor keeps the port reserved with a socket that is bound and never listens.
        options = {**dict(OPTIONS), "grpc.so_reuseport": 1}
        server = aio.server(options=tuple(options.items()))
        guarded: Any = guard.GuardedServer(server, guard.Guard(guard.authentication(settings), self._log))
        guarded.add_generic_rpc_handlers((self._servicer.handlers(), InferenceServicer(self._servicer).handlers()))
        resource = Resource("crossfade-worker", self._config.instance_id, time.time_ns())
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(TelemetryServicer(resource, self._collect), guarded)
        health_servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, guarded)
        if settings.tls:
            server.add_secure_port(self._config.address, server_credentials(settings))
        else:
            server.add_insecure_port(self._config.address)
        await server.start()
        for service in ("", "crossfade.predict.v1.PredictionService", "inference.GRPCInferenceService"):
            await health_servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
        return server, health_servicer

    async def _collect(self) -> list[Snapshot]:
        return self._counting.snapshot()

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (frame := await messages.read(reader)) is not None:
            match frame[0]:
                case messages.Tell() as order:
                    self._tell(order)
                case messages.Count(number):
                    writer.write(messages.pack_counts(number, self._counting.snapshot()))
                case messages.Drain() as order:
                    self._start(self._drain(order))
                case other:
                    self._log.warning("unexpected order", kind=type(other).__name__)
        self._ended.set()

    def _tell(self, order: messages.Tell) -> None:
        self._lanes.update(order.context)
        self._counting.keep_epochs(self._lanes.epochs)
        profiles = (read_manifest(Path(folder)).profile for folder in order.profiles)
        self._counting.compare_with([profile for profile in profiles if profile is not None])

    async def _drain(self, order: messages.Drain) -> None:
        """Serves on until it has been quiet: callers learn of the end a moment later than this process."""
        if not await self._quiet(order.quiet_seconds, order.limit_seconds):
            # Somebody calls on. grpc would cancel what arrives while it stops; this way it is told to go elsewhere.
            self._servicer.activity.closing = True
            await self._quiet(order.quiet_seconds, order.quiet_seconds)
        self._ended.set()

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

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without its supervisor's orders it must not go on; it is started again.
            self._log.error("order failed", exc_info=error)
            os._exit(1)
