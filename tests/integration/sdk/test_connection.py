"""How long a connection may take: a far server is not taken for none, nor one that hangs for one that is away."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from crossfade.cli.connect import Service
from crossfade.cli.errors import CommandError
from crossfade.client import Client, PredictError
from crossfade.connection import open_aio_channel, open_channel
from crossfade.registry.v1 import service_pb2, service_pb2_grpc
from services.common.settings import TlsSettings
from tests.support.channels import open_channel as open_between_services
from tests.support.delaying import delaying

METHOD = "/far/Call"


class Echo(grpc.GenericRpcHandler):
    """Answers every call with its request."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def far() -> AsyncIterator[str]:
    """The address of a server a quarter of a second away."""
    server = grpc.aio.server(handlers=[Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with delaying(f"127.0.0.1:{port}", 0.25) as address:
        yield address
    await server.stop(0)


async def test_the_first_call_to_a_far_server_is_answered(far: str) -> None:
    with open_channel(far, None) as channel:
        called: Any = channel.unary_unary(METHOD)
        assert await asyncio.to_thread(called, b"sdk", timeout=10.0) == b"sdk"
    openings: list[Callable[[], Any]] = [
        lambda: open_aio_channel(far, None),
        lambda: open_between_services(far, TlsSettings()),
    ]
    for opening in openings:
        async with opening() as aio_channel:
            called = aio_channel.unary_unary(METHOD)
            assert await called(b"asyncio", timeout=10.0) == b"asyncio"


def patience(address: str) -> set[int]:
    """Milliseconds after which this process's connections to an address are closed where no packet is acknowledged."""
    port = int(address.rpartition(":")[2])
    found = set()
    for connection in psutil.Process().net_connections("tcp"):
        if connection.raddr and connection.raddr.port == port and connection.laddr.port != port:
            with socket.socket(fileno=os.dup(connection.fd)) as ours:
                found.add(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    return found


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
async def test_a_connection_to_a_machine_that_is_gone_is_given_up() -> None:
    """Else all calls run out of time for a quarter of an hour, although the name has another address."""
    server = grpc.aio.server(handlers=[Echo()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    with open_channel(address, None) as channel:
        called: Any = channel.unary_unary(METHOD)
        await asyncio.to_thread(called, b"sdk", timeout=10.0)
        assert patience(address) == {5_000}
    async with open_aio_channel(address, None) as aio_channel:
        called = aio_channel.unary_unary(METHOD)
        await called(b"asyncio", timeout=10.0)
        assert 5_000 in patience(address)
    await server.stop(0)


def test_a_router_that_hangs_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"127.0.0.1:{hanging.getsockname()[1]}"
        asked = f"no answer came from {address}"
        with Client(address, timeout=0.5) as client, pytest.raises(PredictError, match=asked):
            client.predict("churn", np.zeros((1, 2), np.float32))


def test_the_command_does_not_take_a_server_that_hangs_for_none() -> None:
    """As a stopped process does, it takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"127.0.0.1:{hanging.getsockname()[1]}"
        with open_channel(address, None) as channel:
            service = Service("registry", address, channel, (), timeout=1.0, patient=False)
            with pytest.raises(CommandError, match="did not answer in time"):
                service.call(service_pb2_grpc.RegistryServiceStub(channel).ListModels, service_pb2.ListModelsRequest())
