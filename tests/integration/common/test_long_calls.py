"""Streams on connections that have reached their age."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from services.common.server import LONG_CALLS, OPTIONS, Options
from services.worker.front_end import front_end

PARTS = 30
PAUSE_SECONDS = 0.1


async def parts(options: Options) -> int:
    """How many parts of a stream of 3 s come over a connection that may be 0.5 s old."""

    async def stream(request: bytes, _: Any) -> AsyncIterator[bytes]:
        for _number in range(PARTS):
            yield request
            await asyncio.sleep(PAUSE_SECONDS)

    handler: Any = grpc.unary_stream_rpc_method_handler(stream)
    server = aio.server(options=tuple({**dict(options), "grpc.max_connection_age_ms": 500}.items()))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", {"Stream": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    received = 0
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            multicallable: Any = channel.unary_stream("/test/Stream")
            async for _ in multicallable(b"part", timeout=30):
                received += 1
    except aio.AioRpcError:
        pass
    finally:
        await server.stop(None)
    return received


@pytest.mark.parametrize("grace_ms", [None, 500])
async def test_a_stream_outlives_its_connections_age_where_no_grace_ends_it(grace_ms: int | None) -> None:
    changed = {} if grace_ms is None else {"grpc.max_connection_age_grace_ms": grace_ms}
    received = await parts(tuple({**dict(LONG_CALLS), **changed}.items()))
    assert (received == PARTS) is (grace_ms is None)


def test_what_routers_call_lets_calls_outlive_their_connections_age() -> None:
    name = "grpc.max_connection_age_grace_ms"
    assert dict(front_end.OPTIONS)[name] == dict(LONG_CALLS)[name] != dict(OPTIONS)[name]
