"""healthcheck.py against a real server, as the engine runs it: a process with the container's environment."""

import asyncio
import datetime as dt
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crossfade.cli.actions.certificates import SERVICES, make_certificates
from services.common.server import Server
from services.common.settings import ServiceSettings
from services.common.telemetry.logs import make_log


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("health") / "certificates"
    make_certificates(folder, SERVICES, dt.datetime.now(dt.UTC))
    return folder


def _settings(folder: Path, name: str, listen: str) -> ServiceSettings:
    return ServiceSettings(
        listen=listen,
        drain_seconds=0,
        tls_certificate=folder / f"{name}.pem",
        tls_key=folder / f"{name}.key",
        tls_ca=folder / "ca.pem",
    )


@asynccontextmanager
async def _serving(settings: ServiceSettings, *, healthy: bool) -> AsyncIterator[int]:
    server = Server(settings, make_log("health", "error"), [], lambda _: None)
    await server.start()
    server.set_serving(healthy)
    try:
        yield int(server.address.rpartition(":")[2])
    finally:
        await server.stop()


async def _check(root: Path, *arguments: str, **environment: object) -> tuple[int, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("CROSSFADE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(root / "docker/healthcheck.py"),
        *arguments,
        # In an image the packages are installed; a checkout has them beside.
        env={
            **own,
            "PYTHONPATH": f"{root}{os.pathsep}{root / 'sdk'}",
            **{key: str(value) for key, value in environment.items()},
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, said.decode()


def _tls(folder: Path, name: str) -> dict[str, object]:
    return {
        "CROSSFADE_TLS_CERTIFICATE": folder / f"{name}.pem",
        "CROSSFADE_TLS_KEY": folder / f"{name}.key",
        "CROSSFADE_TLS_CA": folder / "ca.pem",
    }


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_behind_tls_is_healthy(root: Path, certificates: Path, name: str) -> None:
    async with _serving(_settings(certificates, name, "0.0.0.0:0"), healthy=True) as port:
        found = await _check(
            root,
            CROSSFADE_LISTEN=f"0.0.0.0:{port}",
            CROSSFADE_ADVERTISE=f"{name}:8500",
            # As Docker's client sets it in each container where its own settings name one.
            http_proxy="http://127.0.0.1:1",
            **_tls(certificates, name),
        )
    assert found == (0, "")


async def test_a_service_that_does_not_serve_yet_is_not_healthy(root: Path) -> None:
    async with _serving(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0), healthy=False) as port:
        code, said = await _check(root, CROSSFADE_LISTEN=f"127.0.0.1:{port}")
    assert (code, said) == (1, f"healthcheck: 127.0.0.1:{port} is NOT_SERVING\n")


async def test_one_service_of_a_server_can_be_asked_for(root: Path) -> None:
    settings = ServiceSettings(listen="127.0.0.1:0", drain_seconds=0)
    server = Server(settings, make_log("health", "error"), [], lambda _: None)
    await server.start()
    try:
        server.set_serving(True)
        server.set_serving(False, "crossfade.worker.versions")
        listen = server.address
        assert await _check(root, CROSSFADE_LISTEN=listen) == (0, "")
        found = await _check(root, "crossfade.worker.versions", CROSSFADE_LISTEN=listen)
        assert found == (1, "healthcheck: crossfade.worker.versions is NOT_SERVING\n")
        server.set_serving(True, "crossfade.worker.versions")
        assert await _check(root, "crossfade.worker.versions", CROSSFADE_LISTEN=listen) == (0, "")
    finally:
        await server.stop()


async def test_a_server_with_another_name_is_not_believed(root: Path, certificates: Path) -> None:
    async with _serving(_settings(certificates, "router", "0.0.0.0:0"), healthy=True) as port:
        code, said = await _check(
            root,
            CROSSFADE_LISTEN=f"0.0.0.0:{port}",
            CROSSFADE_ADVERTISE="elsewhere:8500",
            **_tls(certificates, "router"),
        )
    assert code == 1
    assert "does not answer: UNAVAILABLE" in said


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "CROSSFADE_LISTEN is '127.0.0.1:0': give the service a fixed port"),
        ({"CROSSFADE_LISTEN": "127.0.0.1:1", "CROSSFADE_TLS_CA": "ca.pem"}, "set CROSSFADE_TLS_CERTIFICATE"),
        ({"CROSSFADE_LISTEN": "127.0.0.1:1"}, "127.0.0.1:1 does not answer: UNAVAILABLE"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(root: Path, environment: dict[str, str], expected: str) -> None:
    code, said = await _check(root, **environment)
    assert code == 1
    assert said.count("\n") == 1
    assert expected in said
