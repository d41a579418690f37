"""The Open Inference Protocol under its own name, /inference.GRPCInferenceService/*.

The messages are those of crossfade.predict.v1, which have the protocol's field numbers: no symbol of `inference.*`
enters the descriptor pool, where it would clash with a client of that protocol in the same process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from crossfade.tensor_spec import TensorSpec
from services.common.errors import NotFoundError
from services.common.stream_infer import StreamInfer, Write
from services.common.text import shown
from services.worker.front_end.servicer import PredictServicer

_TensorMetadata = predict_pb2.ModelMetadataResponse.TensorMetadata


class InferenceServicer:
    """Answers the protocol's methods for one version.

    Args:
        predict: answers ModelInfer, and each request of ModelStreamInfer.
        streams: answers ModelStreamInfer.
    """

    def __init__(self, predict: PredictServicer, streams: StreamInfer) -> None:
        self._predict = predict
        self._streams = streams
        self._key = predict.key
        try:
            self._release = version("crossfade")
        except PackageNotFoundError:
            self._release = ""

    async def server_live(self, request: predict_pb2.ServerLiveRequest, context: Any) -> predict_pb2.ServerLiveResponse:
        """ServerLive: it answers, so it lives."""
        del request, context
        return predict_pb2.ServerLiveResponse(live=True)

    async def server_ready(
        self, request: predict_pb2.ServerReadyRequest, context: Any
    ) -> predict_pb2.ServerReadyResponse:
        """ServerReady: false once the process ends."""
        del request, context
        return predict_pb2.ServerReadyResponse(ready=not self._predict.activity.closing)

    async def model_ready(self, request: predict_pb2.ModelReadyRequest, context: Any) -> predict_pb2.ModelReadyResponse:
        """ModelReady: true for this address's model and version."""
        del context
        ready = request.name == self._key.model and request.version in ("", self._key.version)
        return predict_pb2.ModelReadyResponse(ready=ready and not self._predict.activity.closing)

    async def server_metadata(
        self, request: predict_pb2.ServerMetadataRequest, context: Any
    ) -> predict_pb2.ServerMetadataResponse:
        """ServerMetadata."""
        del request, context
        return predict_pb2.ServerMetadataResponse(name="crossfade", version=self._release)

    async def model_metadata(
        self, request: predict_pb2.ModelMetadataRequest, context: Any
    ) -> predict_pb2.ModelMetadataResponse:
        """ModelMetadata: the version's signature, and its classes."""
        del context
        if request.name != self._key.model or request.version not in ("", self._key.version):
            raise NotFoundError(
                "MODEL_NOT_FOUND",
                f"this address serves {self._key.model} {self._key.version}, "
                f"not {shown(request.name)} {shown(request.version)}",
            )
        signature = self._predict.manifest.signature
        return predict_pb2.ModelMetadataResponse(
            name=self._key.model,
            versions=[self._key.version],
            platform=f"pytorch_{self._predict.manifest.kind}",
            inputs=_tensors(signature.inputs),
            outputs=_tensors(signature.outputs),
            classes=self._predict.manifest.classes or (),
        )

    async def model_stream_infer(
        self, requests: AsyncIterator[bytes], context: aio.ServicerContext[bytes, bytes]
    ) -> None:
        """ModelStreamInfer: each request is answered in parts, beside the others."""

        async def answer(body: bytes, write: Write) -> str:
            await self._predict.predict_stream(body, context, write)
            return ""

        await self._streams.serve(requests, context, answer)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The methods of inference.GRPCInferenceService."""
        p = predict_pb2
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._predict.predict),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self.model_stream_infer),
            "ServerLive": _unary(self.server_live, p.ServerLiveRequest, p.ServerLiveResponse),
            "ServerReady": _unary(self.server_ready, p.ServerReadyRequest, p.ServerReadyResponse),
            "ModelReady": _unary(self.model_ready, p.ModelReadyRequest, p.ModelReadyResponse),
            "ServerMetadata": _unary(self.server_metadata, p.ServerMetadataRequest, p.ServerMetadataResponse),
            "ModelMetadata": _unary(self.model_metadata, p.ModelMetadataRequest, p.ModelMetadataResponse),
        }
        return grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)


def _unary(method: Any, request: type[Message], response: type[Message]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=request.FromString, response_serializer=response.SerializeToString
    )


def _tensors(specs: Sequence[TensorSpec]) -> list[_TensorMetadata]:
    return [_TensorMetadata(name=spec.name, datatype=str(spec.dtype), shape=spec.shape) for spec in specs]
