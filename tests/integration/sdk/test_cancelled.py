"""A Router that cancels what it has taken, since its own clock says that the call's time is over."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from grpc import aio

from crossfade.answers import PredictError
from crossfade.client import AsyncClient, Client

ROWS = np.zeros((1, 4), np.float32)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Cancels the first call, and answers none."""
    calls = 0

    async def predict(body: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 1:
            await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
        await asyncio.sleep(30)
        return body

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(predict)
    server = aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("crossfade.predict.v1.PredictionService", {"Predict": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_call_whose_time_is_over_is_no_router_that_is_away(address: str) -> None:
    async with AsyncClient(address) as client:
        with pytest.raises(PredictError, match="within the call's timeout") as late:
            await client.predict("sign", ROWS, timeout=0.5)
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_nor_is_it_for_a_client_without_asyncio(address: str) -> None:
    def call() -> None:
        with Client(address) as client:
            client.predict("sign", ROWS, timeout=0.5)

    with pytest.raises(PredictError, match="within the call's timeout") as late:
        await asyncio.to_thread(call)
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
