"""Bytes that are no message, sent to a server."""

from collections.abc import AsyncIterator

import grpc
import pytest
import structlog
from grpc import aio
from structlog.testing import capture_logs

from crossfade.errors import details_of
from crossfade.telemetry.v1 import telemetry_pb2_grpc
from services.common.server import Server
from services.common.settings import ServiceSettings
from services.common.telemetry.otlp import Resource
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from tests.support.channels import open_channel

SERVICE = "crossfade.telemetry.v1.TelemetryService"
SETTINGS = ServiceSettings(listen="127.0.0.1:0")


@pytest.fixture
async def address() -> AsyncIterator[str]:
    store = MetricStore()

    async def collect(model: str = "") -> list[Snapshot]:
        del model
        return store.snapshot()

    def register(server: aio.Server) -> None:
        servicer = TelemetryServicer(Resource("test", "1", 0), collect)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(servicer, server)

    server = Server(SETTINGS, structlog.get_logger(), (SERVICE,), register)
    await server.start()
    yield server.address
    await server.stop()


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["tag", "short", "no text"])
async def test_a_body_that_is_no_message_is_the_callers_fault_and_is_not_logged(address: str, body: bytes) -> None:
    async with open_channel(address, SETTINGS) as channel:
        method = f"/{SERVICE}/GetMetrics"
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        with capture_logs() as logs, pytest.raises(aio.AioRpcError) as refused:
            await call(body, timeout=5)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value).reason == "MESSAGE_MALFORMED"
    assert f"{len(body)} bytes are no request of {method}" in (refused.value.details() or "")
    assert logs == []
