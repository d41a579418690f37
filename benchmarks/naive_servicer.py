"""A servicer as one writes it first: parse, call the module, answer. What batching is measured against.

`python -m benchmarks.naive_servicer ARTIFACT ADDRESS`.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import torch

from crossfade.artifact import verify
from crossfade.predict.v1 import predict_pb2
from services.worker.engine.loader import load_program


class NaiveServicer:
    """Calls `module` with each request by itself."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    async def predict(self, request: predict_pb2.PredictRequest, _: Any) -> predict_pb2.PredictResponse:
        """One request, one call."""
        tensor = request.inputs[0]
        rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tuple(tensor.shape)).copy()
        with torch.inference_mode():
            scores = self._module.forward(torch.from_numpy(rows))[0].numpy()
        response = predict_pb2.PredictResponse(model_name=request.model_name, model_version="v1", id=request.id)
        response.outputs.add(name="output", datatype="FP32", shape=scores.shape)
        response.raw_output_contents.append(scores.tobytes())
        return response


async def serve(artifact: Path, address: str) -> None:
    """Serves until it is killed."""
    module = load_program(artifact, verify(artifact).manifest)
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        NaiveServicer(module).predict,
        request_deserializer=predict_pb2.PredictRequest.FromString,
        response_serializer=predict_pb2.PredictResponse.SerializeToString,
    )
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"ModelInfer": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods),))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
