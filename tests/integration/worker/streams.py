"""Calls that are answered in parts, and what they ask for."""

from typing import Any

import numpy as np
import pytest
from grpc import aio

from crossfade.artifact import Loop
from crossfade.predict.v1 import predict_pb2
from tests.fakes.looping import LOOP, NEVER
from tests.support.worker import Failure, failure_of

STREAM = "/crossfade.predict.v1.PredictionService/PredictStream"
INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
LONG = Loop(feeds=LOOP.feeds, parts=LOOP.parts, max_parts=NEVER, until=LOOP.until)


def begins(rows: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((rows, 4), dtype=np.float32)


async def rest_of(call: Any) -> int:
    """How many parts are still to come."""
    parts = 0
    while await call.read() is not aio.EOF:
        parts += 1
    return parts


class Streams:
    """Calls PredictStream at one address as a Router would."""

    def __init__(self, channel: aio.Channel) -> None:
        self._call: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(STREAM)

    def open(self, body: bytes, seconds: float | None = 30.0, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
        return self._call(body, timeout=seconds, metadata=metadata)

    async def parts(self, body: bytes) -> list[predict_pb2.PredictResponse]:
        return [predict_pb2.PredictResponse.FromString(part) async for part in self.open(body)]

    async def failure(self, body: bytes, **options: Any) -> tuple[Failure, int]:
        """How a stream failed, and after how many parts; `options`: as of `open`."""
        call, parts = self.open(body, **options), 0
        with pytest.raises(aio.AioRpcError) as raised:
            async for _ in call:
                parts += 1
        return failure_of(raised.value), parts
