"""Requests of the Open Inference Protocol, read right."""

import numpy as np
import pytest

from crossfade.predict.v1 import predict_pb2
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.errors import InvalidArgumentError
from services.worker.shared_memory.tensors import STORED, InputReader, parse_request, to_numbers, to_stored
from tests.unit.worker.open_inference import SIGNATURE, N, X, raw_request, typed_request


def test_reads_raw_and_typed_contents_in_any_order() -> None:
    swapped = raw_request()
    swapped.inputs.reverse()
    swapped.raw_input_contents.reverse()
    for request in (raw_request(), typed_request(), swapped):
        inputs = InputReader(SIGNATURE).read(parse_request(request.SerializeToString()))
        assert inputs.rows == 2
        np.testing.assert_array_equal(inputs.arrays[0], X)
        np.testing.assert_array_equal(inputs.arrays[1], N)


def test_raw_contents_are_views() -> None:
    inputs = InputReader(SIGNATURE).read(raw_request())
    assert inputs.arrays[0].base is not None
    assert not inputs.arrays[0].flags.writeable


@pytest.mark.parametrize("dtype", list(DType))
def test_every_type_is_read_from_raw_contents(dtype: DType) -> None:
    signature = Signature((TensorSpec("x", dtype, (-1, 2)),), SIGNATURE.outputs)
    numbers = np.array([[0.0, 1.0]])
    data = to_stored(dtype, numbers) if dtype is DType.BF16 else numbers.astype(STORED[dtype])
    request = predict_pb2.PredictRequest(raw_input_contents=[data.tobytes()])
    request.inputs.add(name="x", datatype=str(dtype), shape=(1, 2))
    read = InputReader(signature).read(request).arrays[0]
    np.testing.assert_array_equal(to_numbers(dtype, read), numbers)


def test_half_precision_has_no_typed_contents() -> None:
    signature = Signature((TensorSpec("x", DType.FP16, (-1,)),), SIGNATURE.outputs)
    request = predict_pb2.PredictRequest()
    request.inputs.add(name="x", datatype="FP16", shape=(1,)).contents.fp32_contents.append(1.0)
    with pytest.raises(InvalidArgumentError) as raised:
        InputReader(signature).read(request)
    assert raised.value.reason == "INPUT_SIZE"


def test_inputs_that_the_model_feeds_are_zeros_unless_they_are_given() -> None:
    signature = Signature(
        (TensorSpec("start", DType.FP32, (-1, 2)), TensorSpec("memory", DType.BF16, (-1, 3))),
        (TensorSpec("memory", DType.BF16, (-1, 3)),),
    )
    request = predict_pb2.PredictRequest(raw_input_contents=[np.ones((4, 2), np.float32).tobytes()])
    request.inputs.add(name="start", datatype="FP32", shape=(4, 2))
    read = InputReader(signature, {"memory"}).read(request)
    assert read.rows == 4
    assert (read.arrays[1].shape, read.arrays[1].dtype) == ((4, 3), STORED[DType.BF16])
    assert not read.arrays[1].any()
    request.inputs.add(name="memory", datatype="BF16", shape=(4, 3))
    request.raw_input_contents.append(np.ones((4, 3), np.int16).tobytes())
    assert InputReader(signature, {"memory"}).read(request).arrays[1].all()
    for fed, said in (
        ({"memory"}, "input start is missing"),
        ({"start", "memory"}, "input start or memory is missing"),
    ):
        with pytest.raises(InvalidArgumentError, match=said):
            InputReader(signature, fed).read(predict_pb2.PredictRequest())
