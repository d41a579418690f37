"""Tensors of the Open Inference Protocol: a request's bytes to numpy arrays.

Source: Open Inference Protocol (v2), "Tensor Data" and "Raw Tensor Contents": row-major, little-endian, no padding.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from crossfade.predict.v1 import predict_pb2
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.errors import InvalidArgumentError
from services.common.text import listed, shown

Array = npt.NDArray[Any]

STORED: Final[Mapping[DType, np.dtype[Any]]] = {
    DType.BOOL: np.dtype(np.bool_),
    DType.UINT8: np.dtype("u1"),
    DType.INT8: np.dtype("i1"),
    DType.INT16: np.dtype("<i2"),
    DType.INT32: np.dtype("<i4"),
    DType.INT64: np.dtype("<i8"),
    DType.FP16: np.dtype("<f2"),
    # numpy has no bfloat16: its bits are carried as integers.
    DType.BF16: np.dtype("<i2"),
    DType.FP32: np.dtype("<f4"),
    DType.FP64: np.dtype("<f8"),
}
"""How each element type is held in numpy."""

_TYPED: Final[Mapping[DType, str]] = {
    DType.BOOL: "bool_contents",
    DType.UINT8: "uint_contents",
    DType.INT8: "int_contents",
    DType.INT16: "int_contents",
    DType.INT32: "int_contents",
    DType.INT64: "int64_contents",
    DType.FP32: "fp32_contents",
    DType.FP64: "fp64_contents",
}


def row_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of one row of all these tensors."""
    return sum(spec.width * STORED[spec.dtype].itemsize for spec in specs)


class Inputs(NamedTuple):
    """A request's tensors.

    Attributes:
        arrays: one per input of the signature, in its order, each [rows, ...]; views of the request where possible.
        rows: how many rows each has.
    """

    arrays: tuple[Array, ...]
    rows: int


def parse_request(body: bytes) -> predict_pb2.PredictRequest:
    """Reads a request.

    Raises:
        InvalidArgumentError: MESSAGE_MALFORMED, the bytes are no PredictRequest.
    """
    try:
        return predict_pb2.PredictRequest.FromString(body)
    except DecodeError as error:
        raise InvalidArgumentError(
            "MESSAGE_MALFORMED",
            f"the body's {len(body)} bytes are no PredictRequest (a ModelInferRequest of the Open Inference Protocol)",
        ) from error


class InputReader:
    """Reads the inputs of requests against one signature.

    Args:
        signature: the version's.
        fed: names of inputs that are zeros unless a request gives them.
    """

    def __init__(self, signature: Signature, fed: Collection[str] = ()) -> None:
        self._fed = frozenset(fed)
        self._specs = signature.inputs
        self._index = {spec.name: i for i, spec in enumerate(signature.inputs)}
        self._plain = [
            (spec.name, spec.dtype.value, spec.shape[1:], spec.width * STORED[spec.dtype].itemsize, STORED[spec.dtype])
            for spec in signature.inputs
            if spec.dtype is not DType.BOOL
        ]

    def read(self, request: predict_pb2.PredictRequest) -> Inputs:
        """The request's tensors.

        Raises:
            InvalidArgumentError: INPUT_MISSING, INPUT_UNKNOWN, INPUT_DTYPE, INPUT_SHAPE, INPUT_SIZE or
                MESSAGE_MALFORMED, with the field's path.
        """
        return self._read_plain(request) or self._read_any(request)

    def _read_plain(self, request: predict_pb2.PredictRequest) -> Inputs | None:
        """The common request, quickly: every input in its place, in raw contents; None: it is another one."""
        tensors = request.inputs
        raw = request.raw_input_contents
        if not len(tensors) == len(raw) == len(self._plain) == len(self._specs):
            return None
        arrays: list[Array] = []
        rows = 0
        for (name, datatype, inner, row_bytes, dtype), tensor, data in zip(self._plain, tensors, raw, strict=True):
            # Callers choose how long it is, and all of it is copied.
            if len(tensor.shape) != 1 + len(inner):
                return None
            shape = tuple(tensor.shape)
            rows = rows or shape[0]
            fits = rows > 0 and shape == (rows, *inner) and len(data) == rows * row_bytes
            if not fits or tensor.name != name or tensor.datatype != datatype or tensor.HasField("contents"):
                return None
            arrays.append(np.frombuffer(data, dtype).reshape(shape))
        return Inputs(tuple(arrays), rows)

    def _read_any(self, request: predict_pb2.PredictRequest) -> Inputs:
        tensors = request.inputs
        raw = request.raw_input_contents
        if raw and len(raw) != len(tensors):
            raise InvalidArgumentError(
                "MESSAGE_MALFORMED",
                f"raw_input_contents has {len(raw)} entries for {len(tensors)} inputs; send one per input",
                field="raw_input_contents",
            )
        found: list[Array | None] = [None] * len(self._specs)
        rows = 0
        for position, tensor in enumerate(tensors):
            slot = self._index.get(tensor.name)
            if slot is None:
                raise InvalidArgumentError(
                    "INPUT_UNKNOWN",
                    f"the model has no input {shown(tensor.name)}; its inputs are {self._names()}",
                    field=f"inputs[{position}].name",
                )
            if found[slot] is not None:
                raise InvalidArgumentError(
                    "MESSAGE_MALFORMED", f"input {tensor.name!r} is given twice", field=f"inputs[{position}]"
                )
            spec = self._specs[slot]
            shape = _check_shape(spec, tensor, position, rows)
            rows = shape[0]
            array = _from_raw(spec, shape, tensor, raw[position], position) if raw else None
            found[slot] = _from_typed(spec, shape, tensor, position) if array is None else array
        if rows and self._fed:
            found = [self._begun(spec, array, rows) for spec, array in zip(self._specs, found, strict=True)]
        arrays = tuple(array for array in found if array is not None)
        if len(arrays) < len(self._specs):
            unfed = [spec.name for spec in self._specs if spec.name not in self._fed]
            missing = [spec.name for spec, array in zip(self._specs, found, strict=True) if array is None]
            # Of inputs that the model feeds itself one is enough: it says how many rows there are.
            named = listed([name for name in missing if name in unfed]) or " or ".join(missing)
            raise InvalidArgumentError(
                "INPUT_MISSING", f"input {named} is missing; the model's inputs are {self._names()}", field="inputs"
            )
        return Inputs(arrays, rows)

    def _begun(self, spec: TensorSpec, array: Array | None, rows: int) -> Array | None:
        if array is not None or spec.name not in self._fed:
            return array
        return np.zeros((rows, *spec.shape[1:]), STORED[spec.dtype])

    def _names(self) -> str:
        return listed([f"{spec.name} ({spec.dtype} {list(spec.shape)})" for spec in self._specs])


def _check_shape(
    spec: TensorSpec, tensor: predict_pb2.PredictRequest.InferInputTensor, position: int, rows: int
) -> tuple[int, ...]:
    if tensor.datatype != spec.dtype:
        raise InvalidArgumentError(
            "INPUT_DTYPE",
            f"input {spec.name!r} takes {spec.dtype}, not {shown(tensor.datatype)}",
            field=f"inputs[{position}].datatype",
            # Clients convert by these.
            input=spec.name,
            datatype=str(spec.dtype),
        )
    shape = tuple(tensor.shape) if len(tensor.shape) == len(spec.shape) else ()
    if not shape or shape[0] < 1 or shape[1:] != spec.shape[1:]:
        raise InvalidArgumentError(
            "INPUT_SHAPE",
            f"input {spec.name!r} takes the shape {list(spec.shape)} (-1: the rows, at least 1), "
            f"not [{listed(tensor.shape)}]",
            field=f"inputs[{position}].shape",
        )
    if rows and shape[0] != rows:
        raise InvalidArgumentError(
            "INPUT_SHAPE",
            f"input {spec.name!r} has {shape[0]} rows, another input has {rows}",
            field=f"inputs[{position}].shape",
        )
    return shape


def _from_raw(
    spec: TensorSpec,
    shape: tuple[int, ...],
    tensor: predict_pb2.PredictRequest.InferInputTensor,
    data: bytes,
    position: int,
) -> Array:
    dtype = STORED[spec.dtype]
    expected = shape[0] * spec.width * dtype.itemsize
    if len(data) != expected:
        raise InvalidArgumentError(
            "INPUT_SIZE",
            f"input {spec.name!r} of {spec.dtype} {list(shape)} takes {expected} bytes, not {len(data)}",
            field=f"raw_input_contents[{position}]",
        )
    if tensor.HasField("contents"):
        raise InvalidArgumentError(
            "MESSAGE_MALFORMED",
            f"input {spec.name!r} has both contents and raw_input_contents; send one of them",
            field=f"inputs[{position}].contents",
        )
    if spec.dtype is DType.BOOL:
        flags: Array = np.frombuffer(data, np.uint8).reshape(shape) != 0
        return flags
    return np.frombuffer(data, dtype).reshape(shape)


def _from_typed(
    spec: TensorSpec, shape: tuple[int, ...], tensor: predict_pb2.PredictRequest.InferInputTensor, position: int
) -> Array:
    path = f"inputs[{position}].contents"
    name = _TYPED.get(spec.dtype)
    if name is None:
        raise InvalidArgumentError(
            "INPUT_SIZE", f"input {spec.name!r} of {spec.dtype} is sent in raw_input_contents only", field=path
        )
    for field, _ in tensor.contents.ListFields():
        if field.name != name:
            raise InvalidArgumentError(
                "INPUT_DTYPE", f"input {spec.name!r} of {spec.dtype} is sent in {name}, not {field.name}", field=path
            )
    values: Sequence[Any] = getattr(tensor.contents, name)
    expected = shape[0] * spec.width
    if len(values) != expected:
        raise InvalidArgumentError(
            "INPUT_SIZE",
            f"input {spec.name!r} of shape {list(shape)} takes {expected} values, not {len(values)}",
            field=f"{path}.{name}",
        )
    dtype = STORED[spec.dtype]
    if name in {"int_contents", "uint_contents"}:
        wide = np.array(values, dtype=np.int64)
        limits = np.iinfo(dtype)
        if wide.min() < limits.min or wide.max() > limits.max:
            raise InvalidArgumentError(
                "INPUT_DTYPE",
                f"input {spec.name!r} has a value outside {limits.min} to {limits.max}, the range of {spec.dtype}",
                field=f"{path}.{name}",
            )
        return wide.astype(dtype).reshape(shape)
    return np.array(values, dtype=dtype).reshape(shape)


def to_stored(dtype: DType, array: Array) -> Array:
    """Values as `STORED` holds them: bfloat16, which artifacts keep as float32, becomes its bits."""
    if dtype is not DType.BF16:
        return array
    bits: Array = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return bits.view(np.int16)


def to_numbers(dtype: DType, array: Array) -> npt.NDArray[np.float64]:
    """Stored values as float64, to compare them."""
    if dtype is not DType.BF16:
        return array.astype(np.float64)
    bits = np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16
    return bits.view(np.float32).astype(np.float64)
