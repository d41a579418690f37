"""Callers' deadlines, as gRPC tells them: the Router's answer to one arrives before the caller has gone."""

import asyncio

import grpc
import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from router.call import PREDICT
from tests.integration.router.house import House

CALLS, APART = 10, 0.1
"""On a busy machine some callers have gone all the same: the answer is there some milliseconds before."""


@pytest.mark.parametrize("seconds", [0.5, 1.501, 10.01])
async def test_a_timeout_is_answered_and_counted_before_its_caller_has_gone(house: House, seconds: float) -> None:
    await house.routes()
    house.stable.behavior = "hang"
    body = predict_pb2.PredictRequest(model_name="churn").SerializeToString()
    async with aio.insecure_channel(house.app.address) as channel:
        # What is left of the timeout once it is connected may be another one.
        await channel.channel_ready()
        predict: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)

        async def said(number: int) -> str | None:
            await asyncio.sleep(APART * number)
            with pytest.raises(aio.AioRpcError) as caught:
                await predict(body, timeout=seconds)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return caught.value.details()

        answers = await asyncio.gather(*map(said, range(CALLS)))
    answered = answers.count("v1 did not answer within the call's deadline")
    counted = await house.attempts()
    assert counted.keys() == {("v1", "live", "DEADLINE_EXCEEDED")}
    assert 0 < answered <= counted["v1", "live", "DEADLINE_EXCEEDED"] <= CALLS
