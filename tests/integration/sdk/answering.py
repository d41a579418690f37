"""A server of Predict and Feedback that comes up when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from services.common.ports import free_port


class Answers(predict_pb2_grpc.PredictionServiceServicer):
    """Fails its first calls with a code, counts all, and answers none when it is told to be silent."""

    def __init__(self) -> None:
        self.codes: list[grpc.StatusCode] = []
        self.calls = 0
        self.silent = asyncio.Event()

    async def Predict(self, request: Any, context: Any) -> predict_pb2.PredictResponse:  # noqa: N802 - the contract's
        await self._note(context)
        return predict_pb2.PredictResponse(model_version="v1", id=request.id)

    async def PredictStream(  # noqa: N802 - the contract's
        self, request: Any, context: Any
    ) -> AsyncIterator[predict_pb2.PredictResponse]:
        yield await self.Predict(request, context)

    async def Feedback(self, request: Any, context: Any) -> predict_pb2.FeedbackResponse:  # noqa: N802 - the contract's
        await self._note(context)
        counted = predict_pb2.ObservationResult(status=predict_pb2.ObservationResult.STATUS_ACCEPTED)
        return predict_pb2.FeedbackResponse(results=[counted for _ in request.observations])

    async def _note(self, context: Any) -> None:
        self.calls += 1
        if self.silent.is_set():
            await asyncio.Event().wait()
        if self.codes:
            await context.abort(self.codes.pop(0))


class House:
    """A port at which a server comes up when it is told to."""

    def __init__(self) -> None:
        self.service = Answers()
        self.address = f"127.0.0.1:{free_port()}"
        self._server = grpc.aio.server()

    async def start(self) -> None:
        predict_pb2_grpc.add_PredictionServiceServicer_to_server(self.service, self._server)
        assert self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)
