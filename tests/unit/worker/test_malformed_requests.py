"""Requests of the Open Inference Protocol, refused with what is wrong."""

import tracemalloc
from collections.abc import Callable

import pytest

from crossfade.predict.v1 import predict_pb2
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.errors import InvalidArgumentError
from services.worker.shared_memory.tensors import InputReader, parse_request
from tests.unit.worker.open_inference import SIGNATURE, raw_request, typed_request

Change = Callable[[predict_pb2.PredictRequest], object]


def drop_input(request: predict_pb2.PredictRequest) -> None:
    del request.inputs[1]
    del request.raw_input_contents[1]


def set_shape(*shape: int) -> Change:
    def change(request: predict_pb2.PredictRequest) -> None:
        request.inputs[0].ClearField("shape")
        request.inputs[0].shape.extend(shape)

    return change


def fewer_rows(request: predict_pb2.PredictRequest) -> None:
    request.inputs[1].shape[0] = 1
    request.raw_input_contents[1] = b"\1"


def set_attribute(field: str, value: str) -> Change:
    return lambda request: setattr(request.inputs[0], field, value)


def twice(request: predict_pb2.PredictRequest) -> None:
    request.inputs.add().CopyFrom(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])


def shorter(request: predict_pb2.PredictRequest) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


def one_entry(request: predict_pb2.PredictRequest) -> None:
    del request.raw_input_contents[1]


def both(request: predict_pb2.PredictRequest) -> None:
    request.inputs[0].contents.fp32_contents.append(1.0)


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        (drop_input, "INPUT_MISSING", "inputs"),
        (set_attribute("name", "y"), "INPUT_UNKNOWN", "inputs[0].name"),
        (set_attribute("datatype", "FP64"), "INPUT_DTYPE", "inputs[0].datatype"),
        (set_attribute("datatype", ""), "INPUT_DTYPE", "inputs[0].datatype"),
        (set_shape(2, 4), "INPUT_SHAPE", "inputs[0].shape"),
        (set_shape(6), "INPUT_SHAPE", "inputs[0].shape"),
        (set_shape(), "INPUT_SHAPE", "inputs[0].shape"),
        (set_shape(0, 3), "INPUT_SHAPE", "inputs[0].shape"),
        (set_shape(-2, 3), "INPUT_SHAPE", "inputs[0].shape"),
        (set_shape(1 << 62, 3), "INPUT_SIZE", "raw_input_contents[0]"),
        (fewer_rows, "INPUT_SHAPE", "inputs[1].shape"),
        (shorter, "INPUT_SIZE", "raw_input_contents[0]"),
        (one_entry, "MESSAGE_MALFORMED", "raw_input_contents"),
        (twice, "MESSAGE_MALFORMED", "inputs[2]"),
        (both, "MESSAGE_MALFORMED", "inputs[0].contents"),
    ],
)
def test_malformed_raw_requests(change: Change, reason: str, field: str) -> None:
    request = raw_request()
    change(request)
    with pytest.raises(InvalidArgumentError) as raised:
        InputReader(SIGNATURE).read(request)
    assert (raised.value.reason, raised.value.field) == (reason, field)


def test_a_wrong_type_is_told_to_programs_too() -> None:
    """Clients convert by it."""
    request = raw_request()
    request.inputs[0].datatype = "FP64"
    with pytest.raises(InvalidArgumentError) as raised:
        InputReader(SIGNATURE).read(request)
    assert raised.value.metadata == {"input": request.inputs[0].name, "datatype": "FP32"}


def wrong_field(request: predict_pb2.PredictRequest) -> None:
    request.inputs[1].contents.ClearField("fp32_contents")
    request.inputs[1].contents.fp64_contents.extend([0.0] * 6)


def too_large(request: predict_pb2.PredictRequest) -> None:
    request.inputs[0].contents.int_contents[0] = 200


def too_few(request: predict_pb2.PredictRequest) -> None:
    request.inputs[1].contents.fp32_contents.pop()


def nothing(request: predict_pb2.PredictRequest) -> None:
    request.inputs[1].ClearField("contents")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (wrong_field, "INPUT_DTYPE"),
        (too_large, "INPUT_DTYPE"),
        (too_few, "INPUT_SIZE"),
        (nothing, "INPUT_SIZE"),
    ],
)
def test_malformed_typed_requests(change: Change, reason: str) -> None:
    request = typed_request()
    change(request)
    with pytest.raises(InvalidArgumentError) as raised:
        InputReader(SIGNATURE).read(request)
    assert raised.value.reason == reason


def long_name(request: predict_pb2.PredictRequest) -> None:
    request.inputs[0].name = "\x01" * 1_000_000


def long_type(request: predict_pb2.PredictRequest) -> None:
    request.inputs[0].datatype = "€" * 1_000_000


def long_shape(request: predict_pb2.PredictRequest) -> None:
    request.inputs[0].shape.extend([1] * 1_000_000)


@pytest.mark.parametrize(
    ("change", "reason"), [(long_name, "INPUT_UNKNOWN"), (long_type, "INPUT_DTYPE"), (long_shape, "INPUT_SHAPE")]
)
def test_what_is_wrong_is_said_in_few_words(change: Change, reason: str) -> None:
    inputs = tuple(TensorSpec(f"an_input_{number}", DType.FP32, (-1, 1)) for number in range(1000))
    request = predict_pb2.PredictRequest()
    request.inputs.add(name="an_input_0", datatype="FP32", shape=(1, 1)).contents.fp32_contents.append(1.0)
    change(request)
    with pytest.raises(InvalidArgumentError) as raised:
        InputReader(Signature(inputs, SIGNATURE.outputs)).read(request)
    assert raised.value.reason == reason
    assert len(raised.value.message.encode()) < 1024


def test_a_shape_of_millions_of_entries_is_refused_without_a_copy() -> None:
    request, reader = raw_request(), InputReader(SIGNATURE)
    request.inputs[0].shape.extend([1] * 1_000_000)
    tracemalloc.start()
    with pytest.raises(InvalidArgumentError, match="and 999982 more") as raised:
        reader.read(request)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert raised.value.reason == "INPUT_SHAPE"
    assert most < 1 << 20


def test_a_body_that_is_no_message() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        parse_request(b"\xff\xff\xff")
    assert raised.value.reason == "MESSAGE_MALFORMED"
