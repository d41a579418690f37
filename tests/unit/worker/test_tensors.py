"""Requests of the Open Inference Protocol: read right, refused right; answers written right."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from crossfade.connection import MESSAGE_LIMIT
from crossfade.manifest import DType, Signature, TensorSpec
from crossfade.predict.v1 import predict_pb2
from services.common.errors import InvalidArgumentError
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.outputs import OutputWriter
from services.worker.shared_memory.tensors import STORED, InputReader, parse_request, to_numbers, to_stored

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


def test_half_precision_has_no_typed_contents() -> None:
    signature = Signature((TensorSpec("x", DType.FP16, (-1,)),), SIGNATURE.outputs)
    request = predict_pb2.PredictRequest()
    request.inputs.add(name="x", datatype="FP16", shape=(1,)).contents.fp32_contents.append(1.0)
    with pytest.raises(InvalidArgumentError) as raised:
        InputReader(signature).read(request)
    assert raised.value.reason == "INPUT_SIZE"


def test_a_body_that_is_no_message() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        parse_request(b"\xff\xff\xff")
    assert raised.value.reason == "MESSAGE_MALFORMED"


def test_writes_answers_that_protobuf_reads() -> None:
    writer = OutputWriter("m", "v1", SIGNATURE)
    outputs = (np.arange(4, dtype=np.float32).reshape(2, 2), np.array([True, False]))
    token = "t" * 300
    for _ in range(2):
        body = writer.write(2, (0, 1), outputs, "my id", token)
        response = predict_pb2.PredictResponse.FromString(body)
        assert (response.model_name, response.model_version, response.id) == ("m", "v1", "my id")
        assert response.parameters["crossfade_prediction_id"].string_param == token
        assert [(one.name, one.datatype, list(one.shape)) for one in response.outputs] == [
            ("scores", "FP32", [2, 2]),
            ("mask", "BOOL", [2]),
        ]
        assert list(response.raw_output_contents) == [one.tobytes() for one in outputs]


def test_writes_the_outputs_asked_for_in_their_order() -> None:
    writer = OutputWriter("m", "v1", SIGNATURE)
    request = predict_pb2.PredictRequest()
    request.outputs.add(name="mask")
    wanted = writer.wanted(request)
    outputs = (np.zeros((1, 2), np.float32), np.array([True]))
    response = predict_pb2.PredictResponse.FromString(writer.write(1, wanted, outputs))
    assert [one.name for one in response.outputs] == ["mask"]
    assert list(response.raw_output_contents) == [b"\1"]
    assert not response.parameters
    request.outputs.add(name="nothing")
    with pytest.raises(InvalidArgumentError) as raised:
        writer.wanted(request)
    assert (raised.value.reason, raised.value.field) == ("OUTPUT_UNKNOWN", "outputs[1].name")


WIDE = Signature(SIGNATURE.inputs, tuple(TensorSpec(name, DType.UINT8, (-1, 1 << 23)) for name in ("a", "b", "c")))


def outputs_of(*names: str) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    for name in names:
        request.outputs.add(name=name)
    return request


def test_an_output_is_named_once() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        OutputWriter("m", "v1", WIDE).wanted(outputs_of("a", "b", "a"))
    assert (raised.value.reason, raised.value.field) == ("MESSAGE_MALFORMED", "outputs[2].name")


@pytest.mark.parametrize(
    ("rows", "wanted", "request_id"),
    [(1, (0, 1), ""), (1, (0, 1, 2), ""), (2, (0,), ""), (1, (0,), "x" * (1 << 23)), (1, (0,), "€" * (1 << 22))],
)
def test_what_no_message_could_carry_is_refused_before_it_is_run(
    rows: int, wanted: tuple[int, ...], request_id: str
) -> None:
    writer = OutputWriter("m", "v1", WIDE)
    writer.check(1, (2,), "x" * 1000)
    with pytest.raises(InvalidArgumentError) as raised:
        writer.check(rows, wanted, request_id)
    assert raised.value.reason == "INPUT_SHAPE"


@pytest.mark.parametrize("width", [1, 1024, 5_000_000])
@pytest.mark.parametrize("count", [1, 300])
def test_the_largest_answer_fits_into_a_message(width: int, count: int) -> None:
    names = [f"{'n' * 50}{number}" for number in range(count)]
    outputs = (*(TensorSpec(name, DType.UINT8, (-1, 1)) for name in names), TensorSpec("y", DType.UINT8, (-1, width)))
    signature = Signature((TensorSpec("x", DType.UINT8, (-1,)),), outputs)
    rows = Exchange(signature, 1).largest
    writer = OutputWriter("m" * 128, "v" * 128, signature)
    writer.check(rows, writer.wanted(predict_pb2.PredictRequest()), "i" * 1024)
    answers = [np.zeros((rows, *spec.shape[1:]), np.uint8) for spec in outputs]
    body = writer.write(rows, tuple(range(len(outputs))), answers, "i" * 1024, "t" * 2000)
    assert MESSAGE_LIMIT - (width + count) - 2 * len(names) * 80 - 5000 < len(body) <= MESSAGE_LIMIT


def test_what_callers_choose_takes_so_much_memory_and_no_more() -> None:
    outputs = tuple(TensorSpec(f"{'n' * 50}{number}", DType.UINT8, (-1,)) for number in range(1000))
    writer = OutputWriter("m", "v1", Signature(SIGNATURE.inputs, outputs))
    answers = [np.zeros(1, np.uint8)] * len(outputs)
    tracemalloc.start()
    for rows in range(1, 101):
        writer.write(rows, tuple(range(len(outputs))), answers)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 << 20


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
