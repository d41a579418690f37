"""Callers' deadlines, as gRPC tells them: the Router's answer to one arrives before the caller has gone."""

import asyncio
import time

import grpc
import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from router.call import PREDICT
from tests.integration.router.house import House
from tests.support.wait import until_async

CALLS, APART = 20, 0.05
"""On a busy machine many callers have gone all the same: the answer is there some milliseconds before."""
LONGEST_SECONDS = 60.0
"""For so long it is tried whether the answer comes in time to one of them."""


@pytest.mark.parametrize("seconds", [0.5, 1.501, 10.01])
async def test_a_timeout_is_answered_and_counted_before_its_caller_has_gone(house: House, seconds: float) -> None:
    await house.routes()
    house.stable.behavior = "hang"
    body = predict_pb2.PredictRequest(model_name="churn").SerializeToString()
    said: list[str | None] = []
    async with aio.insecure_channel(house.app.address) as channel:
        # What is left of the timeout once it is connected may be another one.
        await channel.channel_ready()
        predict: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)

        async def ask(number: int) -> None:
            await asyncio.sleep(APART * number)
            with pytest.raises(aio.AioRpcError) as caught:
                await predict(body, timeout=seconds)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            said.append(caught.value.details())

        end = time.monotonic() + LONGEST_SECONDS
        while not (answered := said.count("v1 did not answer within the call's deadline")) and time.monotonic() < end:
            await asyncio.gather(*map(ask, range(CALLS)))
    counted = await house.attempts()
    assert counted.keys() == {("v1", "live", "DEADLINE_EXCEEDED")}
    assert 0 < answered <= counted["v1", "live", "DEADLINE_EXCEEDED"] <= len(said)


async def test_a_timeout_that_arrives_as_another_callers_longer_one_is_counted(house: House) -> None:
    await house.routes()
    house.stable.behavior = "hang"
    body = predict_pb2.PredictRequest(model_name="churn").SerializeToString()
    # gRPC sends the timeout of the first one for the others too, who have gone before the Router thinks so.
    timeouts = (2.0, *[1.96] * 4)
    async with aio.insecure_channel(house.app.address) as channel:
        await channel.channel_ready()
        predict: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        for seconds in timeouts:
            with pytest.raises(aio.AioRpcError):
                await predict(body, timeout=seconds)

    async def all_counted() -> bool:
        return await house.attempts() == {("v1", "live", "DEADLINE_EXCEEDED"): len(timeouts)}

    await until_async(all_counted)
