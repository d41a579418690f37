"""A Worker over mutual TLS: its versions' processes show the certificate that the files hold today."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from crossfade.cli.actions.certificates import make_certificates
from services.common.own_certificate import OwnCertificate
from services.common.settings import TlsSettings
from services.common.telemetry.logs import make_log
from tests.fakes.models import reference_rows, request_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.conftest import PREDICT
from tests.support.channels import open_channel
from tests.support.tls import Files, shown
from tests.support.wait import until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "dev", [], dt.datetime.now(dt.UTC))
    return made / "dev"


def settings(folder: Path, who: str) -> TlsSettings:
    return TlsSettings(tls_certificate=folder / f"{who}.pem", tls_key=folder / f"{who}.key", tls_ca=folder / "ca.pem")


@pytest.fixture
async def registry(folder: Path) -> AsyncIterator[FakeRegistry]:
    own = OwnCertificate(settings(folder, "registry"), make_log("test", "critical"))
    fake = FakeRegistry(own.credentials())
    await fake.start()
    yield fake
    await fake.stop()


async def test_a_version_that_runs_shows_the_files_of_today(
    registry: FakeRegistry,
    folder: Path,
    tmp_path: Path,
    start_worker: Callable[..., Any],
    artifacts: Callable[..., Any],
    want: Callable[..., Any],
) -> None:
    (tmp_path / "tls").mkdir()
    files = Files(folder, tmp_path / "tls", "worker")
    await registry.set_lanes(lane("scores", want(artifacts())))
    worker = await start_worker(**files.settings)
    await until(lambda: registry.state("scores", "v1") == "READY", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    addresses = (worker.address, serving.address)

    async def show() -> list[str]:
        return [await asyncio.to_thread(shown, address, folder) for address in addresses]

    async def predicts() -> bool:
        async with open_channel(serving.address, settings(folder, "client")) as channel:
            call: Any = channel.unary_unary(PREDICT)
            return bool(await call(request_of("scores", reference_rows(1)), timeout=10))

    assert await show() == ["worker", "worker"]
    assert await predicts()
    files.put("certificate", "evaluator.pem")
    assert await show() == ["worker", "worker"]
    files.put("key", "evaluator.key")
    assert await show() == ["evaluator", "evaluator"]
    assert await predicts()
