"""How a service of several replicas is addressed, as docs/deployment.md says: by one name, not by a list."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.cli.actions.certificates import SERVICES, make_certificates
from services.common.server import Server
from services.common.settings import ServiceSettings
from services.common.telemetry.logs import make_log
from tests.support.channels import open_channel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "certificates"
    make_certificates(made, SERVICES, dt.datetime.now(dt.UTC))
    return made


def settings(folder: Path, name: str) -> ServiceSettings:
    return ServiceSettings(
        listen="127.0.0.1:0",
        drain_seconds=0,
        tls_certificate=folder / f"{name}.pem",
        tls_key=folder / f"{name}.key",
        tls_ca=folder / "ca.pem",
    )


@pytest.fixture
async def ports(folder: Path) -> AsyncIterator[list[str]]:
    """Two replicas."""
    servers = [Server(settings(folder, "registry"), make_log("test", "error"), [], lambda _: None) for _ in range(2)]
    for server in servers:
        await server.start()
        server.set_serving(True)
    yield [server.address.rpartition(":")[2] for server in servers]
    for server in servers:
        await server.stop()


async def ask(folder: Path, target: str) -> None:
    async with open_channel(target, settings(folder, "viewer")) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)


async def test_a_name_works_and_a_list_of_addresses_does_not_with_tls(folder: Path, ports: list[str]) -> None:
    await ask(folder, f"localhost:{ports[0]}")
    await ask(folder, f"dns:///localhost:{ports[1]}")
    with pytest.raises(aio.AioRpcError) as caught:
        await ask(folder, "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports))
    assert caught.value.code() is StatusCode.UNAVAILABLE
    assert "Hostname Verification Check failed" in (caught.value.details() or "")
