"""numpy arrays to Predict messages and back, in the Open Inference Protocol's types."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crossfade import bfloat16, metadata
from crossfade.predict.v1 import predict_pb2

Array = npt.NDArray[Any]

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Element types of tensors, by their names in the Open Inference Protocol."""
BF16: Final = "BF16"
"""The one that numpy lacks: float32 holds its numbers here."""

_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


def encode_request(
    model: str,
    inputs: Mapping[str, Array],
    *,
    version: str = "",
    request_id: str = "",
    max_parts: int | None = None,
    bf16: Collection[str] = (),
) -> predict_pb2.PredictRequest:
    """A Predict request with the arrays as raw contents.

    Args:
        model: the model's id.
        inputs: arrays by input name, the batch as their first dimension.
        version: a pin; empty: none.
        request_id: echoed in the answer.
        max_parts: how many parts PredictStream is to answer at most; None: as many as the version has.
        bf16: inputs whose numbers are sent as bfloat16, rounded.

    Raises:
        TypeError: an array's element type is none of the protocol's.
    """
    request = predict_pb2.PredictRequest(model_name=model, model_version=version, id=request_id)
    if max_parts is not None:
        request.parameters[metadata.MAX_PARTS].int64_param = max_parts
    for name, array in inputs.items():
        if name in bf16:
            request.inputs.add(name=name, datatype=BF16, shape=array.shape)
            request.raw_input_contents.append(bfloat16.to_bits(array).astype("<u2").tobytes())
            continue
        datatype = _NAMES.get(array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype)
        if datatype is None:
            raise TypeError(f"input {name!r} has the type {array.dtype}; use one of {', '.join(map(str, _NAMES))}")
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        little = np.ascontiguousarray(array, dtype=DTYPES[datatype])
        request.raw_input_contents.append(little.tobytes())
    return request


def decode_outputs(response: predict_pb2.PredictResponse) -> dict[str, Array]:
    """The outputs of an answer, by name.

    Raises:
        ValueError: the answer is not one of the protocol's.
    """
    outputs: dict[str, Array] = {}
    for number, output in enumerate(response.outputs):
        if output.datatype == BF16 and number < len(response.raw_output_contents):
            bits = np.frombuffer(response.raw_output_contents[number], "<u2")
            outputs[output.name] = bfloat16.from_bits(bits).reshape(tuple(output.shape))
            continue
        dtype = DTYPES.get(output.datatype)
        if dtype is None:
            raise ValueError(f"output {output.name!r} has the type {output.datatype}, which numpy does not know")
        shape = tuple(output.shape)
        if number < len(response.raw_output_contents):
            flat: Array = np.frombuffer(response.raw_output_contents[number], dtype=dtype)
        else:
            flat = np.asarray(getattr(output.contents, _CONTENTS[output.datatype]), dtype=dtype)
        outputs[output.name] = flat.reshape(shape)
    return outputs


def prediction_id(response: predict_pb2.PredictResponse) -> str:
    """The token that Feedback takes; empty: the answer has none."""
    return response.parameters[metadata.PREDICTION_ID].string_param if response.parameters else ""
