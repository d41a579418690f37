"""Keepalive pings as clients in other languages send them, in bytes: grpc's own client holds back what is too many."""

import asyncio
import struct

import pytest

from services.common.server import LONG_CALLS, OPTIONS, Options
from services.common.settings import ServiceSettings
from tests.integration.common.house import House
from tests.support.http2 import ACK, BEGIN, GOAWAY, PING, call, frame, read

MINIMUM = "grpc.http2.min_ping_interval_without_data_ms"
FASTER = 50
"""So many times faster than in earnest: what the server allows, and the clients."""
EVERY = 10 / FASTER
PINGS = 8


def hurried(options: Options) -> Options:
    return tuple({**dict(options), MINIMUM: dict(options)[MINIMUM] // FASTER}.items())


@pytest.mark.parametrize("options", [OPTIONS, LONG_CALLS], ids=["short", "long"])
@pytest.mark.parametrize("calls", [False, True], ids=["idle", "silent-call"])
async def test_a_client_that_pings_every_ten_seconds_keeps_its_connection(options: Options, calls: bool) -> None:
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1), options=hurried(options))
    await house.server.start()
    try:
        await ping(house.server.address, calls)
    finally:
        await house.server.stop()


async def ping(address: str, silent: bool) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(BEGIN)
    if silent:
        # Nothing comes while nothing changes.
        writer.write(call("/grpc.health.v1.Health/Watch"))
    for number in range(PINGS):
        writer.write(frame(PING, struct.pack(">Q", number)))
        await writer.drain()
        async with asyncio.timeout(10):
            while True:
                kind, flags, payload = await read(reader)
                assert kind != GOAWAY, payload[8:]
                if kind == PING and flags & ACK:
                    assert payload == struct.pack(">Q", number)
                    break
        # The pace is the client's: it is what is tested.
        await asyncio.sleep(EVERY)
    writer.close()
    await writer.wait_closed()
