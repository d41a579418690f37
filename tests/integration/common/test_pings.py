"""Keepalive pings as clients in other languages send them, in bytes: grpc's own client holds back what is too many."""

import asyncio
import struct

import pytest

from services.common.server import LONG_CALLS, OPTIONS, Options
from services.common.settings import ServiceSettings
from tests.integration.common.house import House

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY, HEADERS = 4, 6, 7, 1
ACK = 1
MINIMUM = "grpc.http2.min_ping_interval_without_data_ms"
FASTER = 50
"""So many times faster than in earnest: what the server allows, and the clients."""
EVERY = 10 / FASTER
PINGS = 8


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def literal(name: str, value: str) -> bytes:
    """A header that no table has (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


async def read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """The next frame: what it is, its flags, and what it holds."""
    head = await reader.readexactly(9)
    return head[3], head[4], await reader.readexactly(int.from_bytes(head[:3]))


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


async def ping(address: str, calls: bool) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=ACK))
    if calls:
        # A watch of health: nothing comes while nothing changes.
        wanted = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/grpc.health.v1.Health/Watch",
            ":authority": address,
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = b"".join(literal(name, value) for name, value in wanted.items())
        writer.write(frame(HEADERS, block, flags=4, stream=1) + frame(0, bytes(5), flags=1, stream=1))
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
