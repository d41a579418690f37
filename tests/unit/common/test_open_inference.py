"""The Open Inference Protocol's descriptors, as reflection shows them."""

from google.protobuf import descriptor_pool, message_factory

from crossfade.predict.v1 import predict_pb2
from services.common import open_inference
from services.common.identity import ALLOWED
from services.common.open_inference import PACKAGE, SERVICE
from tests.unit.worker.open_inference import raw_request, typed_request


def pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(open_inference.described().SerializeToString())
    return pool


def test_the_methods_are_those_that_callers_may_call() -> None:
    named = {f"/{SERVICE}/{method.name}" for method in pool().FindServiceByName(SERVICE).methods}
    assert named == {method for method in ALLOWED if method.startswith(f"/{PACKAGE}.")}


def test_a_request_by_the_protocols_names_is_the_one_of_crossfades() -> None:
    method = pool().FindServiceByName(SERVICE).methods_by_name["ModelInfer"]
    assert (method.input_type.full_name, method.output_type.full_name) == (
        "inference.ModelInferRequest",
        "inference.ModelInferResponse",
    )
    request_class = message_factory.GetMessageClass(method.input_type)
    for ours in (raw_request(), typed_request()):
        ours.parameters["sequence_id"].int64_param = 7
        theirs = request_class.FromString(ours.SerializeToString())
        assert predict_pb2.PredictRequest.FromString(theirs.SerializeToString()) == ours
        assert str(theirs) == str(ours)


def test_nothing_is_in_it_that_the_protocol_does_not_have() -> None:
    file = pool().FindFileByName(open_inference.FILE)
    assert "Feedback" not in str(open_inference.described())
    assert set(file.services_by_name) == {"GRPCInferenceService"}
    streamed = file.services_by_name["GRPCInferenceService"].methods_by_name["ModelStreamInfer"]
    assert (streamed.client_streaming, streamed.server_streaming) == (True, True)
    parts = streamed.output_type.fields_by_name["infer_response"].message_type
    assert parts is not None
    assert parts.full_name == "inference.ModelInferResponse"
