"""A Worker with real processes, beside a Registry that the test writes."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from grpc import aio

from crossfade.artifact import Architecture, Loop, package
from crossfade.artifact.building import build
from crossfade.predict.v1 import predict_pb2
from router.app import App as Router
from router.settings import RouterSettings
from services.common.clock import Clock
from services.worker.app import App
from services.worker.settings import WorkerSettings
from tests.fakes.looping import LOOP, Walk, package_walk
from tests.fakes.models import CLASSES, Packaged, Rows, package_scores, reference_rows, request_of
from tests.fakes.otlp_receiver import OtlpReceiver
from tests.fakes.registry import LIVE, FakeRegistry, lane, wanted
from tests.integration.worker.ending import HOUSE
from tests.integration.worker.streams import Streams
from tests.integration.worker.versions import Versions
from tests.support.installing import install
from tests.support.wait import until
from tests.support.worker import Failure, failure_of

PREDICT = "/crossfade.predict.v1.PredictionService/Predict"


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Packaged]:
    """Packages a model once per set of options."""
    made: dict[str, Packaged] = {}
    root = tmp_path_factory.mktemp("artifacts")

    def get(**options: Any) -> Packaged:
        name = repr(sorted(options.items(), key=lambda item: item[0]))
        if name not in made:
            made[name] = package_scores(root / str(len(made)), **options)
        return made[name]

    return get


@pytest.fixture(scope="session")
def want() -> Callable[..., Any]:
    """A packaged version as routes want it."""

    def make(packaged: Packaged, version: str = "v1", **options: Any) -> Any:
        artifact = packaged.artifact
        return wanted(version, packaged.uri, artifact.digest, artifact.manifest, size=artifact.size, **options)

    return make


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """A Registry without lanes."""
    fake = FakeRegistry()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    """A receiver of a Worker's spans."""
    made = OtlpReceiver()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def token_keys(tmp_path: Path) -> Path:
    """A file with one key."""
    path = tmp_path / "token-keys"
    path.write_text("1 " + "ab" * 32 + "\n")
    return path


@pytest.fixture
async def start_worker(registry: FakeRegistry, tmp_path: Path, token_keys: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts Workers; they are stopped at the end."""
    apps: list[App] = []

    async def start(clock: Clock | None = None, **options: Any) -> App:
        values = {
            "listen": "127.0.0.1:0",
            "registry": registry.address,
            "artifact_cache": tmp_path / "cache",
            "token_keys": token_keys,
            "quiet_seconds": 0.1,
            "drain_seconds": 5.0,
            "poll_seconds": 0.1,
            "version_threads": 1,
            # The whole suite runs on a GPU if asked to; a few tests expect what a CPU does.
            "device": os.environ.get("CROSSFADE_DEVICE", "cpu"),
            # By itself it would go by the timing, which a busy machine decides.
            "precision": "fp32",
            "lease_seconds": 3.0,
            **options,
        }
        app = App(WorkerSettings(**values), clock)
        apps.append(app)
        await app.start()
        return app

    yield start
    for app in apps:
        await app.stop()


@pytest.fixture
async def router(registry: FakeRegistry, token_keys: Path) -> AsyncIterator[Router]:
    """A Router of the same Registry."""
    made = Router(
        RouterSettings(
            listen="127.0.0.1:0",
            registry=registry.address,
            token_keys=token_keys,
            log_level="error",
            drain_seconds=0.2,
        )
    )
    await made.start()
    yield made
    await made.stop()


class Caller:
    """Calls one address as a Router would."""

    def __init__(self, address: str) -> None:
        self.channel = aio.insecure_channel(address)
        self._predict: aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(PREDICT)

    async def predict(
        self,
        rows: Rows,
        model: str = "scores",
        *,
        timeout_seconds: float | None = 10.0,
        metadata: tuple[tuple[str, str], ...] = (),
        **options: Any,
    ) -> predict_pb2.PredictResponse:
        """One request."""
        body = await self._predict(request_of(model, rows, **options), timeout=timeout_seconds, metadata=metadata)
        return predict_pb2.PredictResponse.FromString(body)

    async def failure(self, rows: Rows, model: str = "scores", **options: Any) -> Failure:
        """One request that fails."""
        return await self.failure_of(request_of(model, rows), **options)

    async def failure_of(
        self, body: bytes, timeout_seconds: float | None = 10.0, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Failure:
        """One request of any bytes that fails."""
        with pytest.raises(aio.AioRpcError) as raised:
            await self._predict(body, timeout=timeout_seconds, metadata=metadata)
        return failure_of(raised.value)

    async def call(self, body: bytes, method: str = PREDICT) -> bytes:
        """One request of any bytes."""
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(method)
        return await call(body, timeout=10)


@pytest.fixture
async def caller_of(registry: FakeRegistry) -> AsyncIterator[Callable[..., Any]]:
    """Waits until a version is ready and answers a caller of its address."""
    callers: list[Caller] = []

    async def get(version: str, model: str = "scores", traffic: int = LIVE, seconds: float = 60.0) -> Caller:
        await until(lambda: registry.state(model, version, traffic) == "READY", seconds)
        serving = registry.serving(model, version, traffic)
        assert serving is not None
        caller = Caller(serving.address)
        callers.append(caller)
        return caller

    yield get
    for caller in callers:
        await caller.channel.close()


@pytest.fixture(scope="session")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Packaged]:
    """Packages a walk once per set of options."""
    made: dict[str, Packaged] = {}
    root = tmp_path_factory.mktemp("walks")

    def get(loop: Loop = LOOP, **options: Any) -> Packaged:
        name = repr((loop, sorted(options.items())))
        if name not in made:
            made[name] = package_walk(root / str(len(made)), Walk(**options), loop)
        return made[name]

    return get


@pytest.fixture
async def served(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any
) -> AsyncIterator[Callable[..., Any]]:
    """Serves a walk; answers the Worker, a caller of it, and its streams."""

    async def serve(packaged: Packaged, **options: Any) -> Any:
        await registry.set_lanes(lane("walk", want(packaged)))
        app = await start_worker(**options)
        caller = await caller_of("v1", "walk")
        return app, caller, Streams(caller.channel)

    yield serve


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ends its process when it is told to; its folder."""
    folder = install(tmp_path / "house", "house_nets", {"linear": "house_nets:Linear"}, HOUSE)
    monkeypatch.syspath_prepend(str(folder))
    # Another test's package of the same name may be imported.
    monkeypatch.delitem(sys.modules, "house_nets", raising=False)
    return folder


@pytest.fixture
def linear(house: Path, tmp_path: Path) -> Packaged:
    """Its weights."""
    del house
    torch.manual_seed(4)
    module, rows = build(Architecture("linear")), reference_rows()
    of = Architecture("linear")
    return Packaged(
        package(module, architecture=of, to=tmp_path / "linear", example=rows[:16], reference=rows, classes=CLASSES)
    )


@pytest.fixture
async def versions(artifacts: Callable[..., Any], token_keys: Path) -> AsyncIterator[Versions]:
    """Ends what was started."""
    started = Versions(artifacts().artifact.path, token_keys)
    yield started
    for process in started.processes:
        process.kill()
        await process.exit_code()
    started.ports.close()
