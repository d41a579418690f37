"""A Registry on a real database behind a real gRPC server."""

import datetime as dt
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from crossfade.cli.actions.certificates import make_certificates
from registry.app import App
from registry.settings import RegistrySettings
from services.common.clock import Clock
from services.common.settings import TlsSettings
from tests.integration.registry.harness import Registry, Secured, Start, plan
from tests.integration.registry.webhook_receiver import Receiver
from tests.support.cutting import Proxy


@pytest.fixture
async def start(database: str) -> AsyncIterator[Start]:
    """Starts Registries on one database; they end with the test."""
    started: list[Registry] = []

    async def make(
        clock: Clock | None = None,
        *,
        machine: Clock | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
        **changes: object,
    ) -> Registry:
        values = {
            "listen": "127.0.0.1:0",
            "database": database,
            "drain_seconds": 1,
            "log_level": "error",
            "database_connections": 4,
            "readiness_debounce_seconds": 0.0,
            "give_way_seconds": 0.0,
            "sweep_seconds": 0.2,
            "watch_poll_seconds": 0.02,
            **changes,
        }
        settings = RegistrySettings(**values)  # type: ignore[arg-type]  # settings, by name
        app = App(settings, clock, machine=machine, uniform=uniform)
        await app.start()
        registry = Registry(app)
        started.append(registry)
        return registry

    yield make
    for registry in started:
        await registry.channel.close()
        await registry.app.stop()


@pytest.fixture
async def registry(start: Start) -> Registry:
    """One Registry."""
    return await start()


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    """Stands before the database, and cuts nothing yet."""
    made = Proxy(database)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def secured(start: Start, tmp_path: Path) -> AsyncIterator[Secured]:
    """One Registry with TLS, and a rollout."""
    folder = tmp_path / "tls"
    make_certificates(folder, [], dt.datetime.now(dt.UTC))

    def files(name: str) -> TlsSettings:
        return TlsSettings(
            tls_certificate=folder / f"{name}.pem", tls_key=folder / f"{name}.key", tls_ca=folder / "ca.pem"
        )

    app = (await start(**files("registry").model_dump())).app
    made = Secured(*(Registry(app, files(role)) for role in ("operator", "evaluator", "worker")))
    await made.operator.create()
    await made.operator.publish()
    worker = made.worker.worker()
    await worker.ready("v1")
    await made.operator.publish(rollout=plan(500, 5000))
    await worker.ready("v1", "v2", control="v1")
    yield made
    for one in (made.operator, made.evaluator, made.worker):
        await one.channel.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    made = Receiver()
    yield made
    made.close()
