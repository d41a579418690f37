"""A Worker's process as far as Routers see it: a real gRPC server that answers, fails or hangs as a test says."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

import grpc
from grpc import aio

from crossfade import metadata as keys
from crossfade.errors import DETAILS_KEY
from crossfade.predict.v1 import predict_pb2
from services.common.errors import InternalError, ResourceExhaustedError
from services.common.statuses import details_of

Behavior = Literal["answer", "fail", "fail at once", "refuse", "hang", "bad input", "full", "break", "go on"]
NEVER_ENDING: Final = 1_000_000


class FakeWorker:
    """Serves Predict for one version.

    Args:
        version: what it answers with.

    Attributes:
        address: host:port, once started; kept across `stop` and `start`.
        behavior: what it does with requests.
        classes: of its version.
        calls: the metadata of each request.
        sent: parts of streams.
        left: streams that their callers left.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.address = "127.0.0.1:0"
        self.behavior: Behavior = "answer"
        self.classes = ["keep", "churn"]
        self.calls: list[dict[str, Any]] = []
        self.sent = 0
        self.left = 0
        self._server: aio.Server | None = None

    async def start(self) -> None:
        """Serves."""
        self._server = aio.server(options=(("grpc.so_reuseport", 0),))
        predict: Any = grpc.unary_unary_rpc_method_handler(
            self._predict,
            request_deserializer=predict_pb2.PredictRequest.FromString,
            response_serializer=predict_pb2.PredictResponse.SerializeToString,
        )
        stream: Any = grpc.unary_stream_rpc_method_handler(
            self._stream,
            request_deserializer=predict_pb2.PredictRequest.FromString,
            response_serializer=predict_pb2.PredictResponse.SerializeToString,
        )
        metadata: Any = grpc.unary_unary_rpc_method_handler(
            self._metadata,
            request_deserializer=predict_pb2.ModelMetadataRequest.FromString,
            response_serializer=predict_pb2.ModelMetadataResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "crossfade.predict.v1.PredictionService", {"Predict": predict, "PredictStream": stream}
                ),
                grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelMetadata": metadata}),
            )
        )
        port = self._server.add_insecure_port(self.address)
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        """Ends at once, as when it is killed, or lets what is under way go on for so many seconds."""
        if self._server is not None:
            await self._server.stop(grace)

    async def _predict(
        self, request: predict_pb2.PredictRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> predict_pb2.PredictResponse:
        self.calls.append(dict(context.invocation_metadata() or ()))
        if self.behavior == "refuse":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not live here any more")
        if self.behavior == "bad input":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such input")
        if self.behavior == "full":
            full = ResourceExhaustedError("QUEUE_FULL", "the queue is full", retry_seconds=0.25)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, full.message, ((DETAILS_KEY, details_of(full)),))
        accepted = ((keys.ACCEPTED, "1"),)
        # As Workers do: a stream's caller may see the failure before the initial metadata, and then has none.
        context.set_trailing_metadata(accepted)
        if self.behavior == "fail at once":
            await context.abort(grpc.StatusCode.INTERNAL, "the model raised")
        await context.send_initial_metadata(accepted)
        if self.behavior == "hang":
            await asyncio.sleep(60)
        if self.behavior == "fail":
            raised = InternalError("MODEL_RAISED", "the model raised")
            trailer = (*accepted, (DETAILS_KEY, details_of(raised)))
            await context.abort(grpc.StatusCode.INTERNAL, raised.message, trailer)
        return predict_pb2.PredictResponse(
            model_name=request.model_name,
            model_version=self.version,
            id=request.id,
            raw_output_contents=request.raw_input_contents,
        )

    async def _stream(
        self, request: predict_pb2.PredictRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[predict_pb2.PredictResponse]:
        """Three parts of the request's bytes, or as the behavior says; "break" fails after the second."""
        first = await self._predict(request, context)
        parts = NEVER_ENDING if self.behavior == "go on" else 3
        try:
            for number in range(parts):
                if self.behavior == "break" and number == 2:
                    await context.abort(grpc.StatusCode.INTERNAL, "the model raised in step 3")
                self.sent += 1
                yield first
                if self.behavior == "go on":
                    # A model takes a while for each part.
                    await asyncio.sleep(0.005)
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise

    async def _metadata(
        self, request: predict_pb2.ModelMetadataRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> predict_pb2.ModelMetadataResponse:
        """As Workers do: the process knows its version by its own name alone."""
        if request.version not in ("", self.version):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"this address serves {self.version}, not {request.version}")
        return predict_pb2.ModelMetadataResponse(name=request.name, versions=[self.version], classes=self.classes)
