"""Answers of the Open Inference Protocol: written right, and no larger than a message."""

import tracemalloc

import numpy as np
import pytest

from crossfade.connection import MESSAGE_LIMIT
from crossfade.predict.v1 import predict_pb2
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.errors import InvalidArgumentError
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.outputs import OutputWriter
from tests.unit.worker.open_inference import SIGNATURE


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
