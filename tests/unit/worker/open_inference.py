"""Requests of the Open Inference Protocol, and the signature that they are for."""

import numpy as np

from crossfade.predict.v1 import predict_pb2
from crossfade.tensor_spec import DType, Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", DType.FP32, (-1, 3)), TensorSpec("n", DType.INT8, (-1,))),
    (TensorSpec("scores", DType.FP32, (-1, 2)), TensorSpec("mask", DType.BOOL, (-1,))),
)

X = np.arange(6, dtype=np.float32).reshape(2, 3)
N = np.array([1, -2], dtype=np.int8)


def raw_request() -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_name="m", raw_input_contents=[X.tobytes(), N.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=(2, 3))
    request.inputs.add(name="n", datatype="INT8", shape=(2,))
    return request


def typed_request() -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_name="m")
    request.inputs.add(name="n", datatype="INT8", shape=(2,)).contents.int_contents.extend([1, -2])
    request.inputs.add(name="x", datatype="FP32", shape=(2, 3)).contents.fp32_contents.extend(X.ravel())
    return request
