"""Rules of the contracts that a linter of protos does not check."""

import importlib
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from crossfade.router.v1 import router_pb2
from crossfade.telemetry.v1 import telemetry_pb2
from tests.support.rpcs import SAME_AGAIN

FILES = (
    analysis_pb2,
    model_pb2,
    policy_pb2,
    evaluator_pb2,
    predict_pb2,
    resources_pb2,
    service_pb2,
    router_pb2,
    telemetry_pb2,
)
READS = ("Get", "List", "Watch", "Report", "Check")


def descriptors() -> Iterator[FileDescriptor]:
    for file in FILES:
        yield file.DESCRIPTOR


def test_package_directory_and_import_path_are_one() -> None:
    for file in descriptors():
        assert file.name.rpartition("/")[0].replace("/", ".") == file.package
        assert importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")


def test_code_for_other_languages_lies_where_its_package_says() -> None:
    # protoc makes nothing for Go of a file that does not say where, and for Java one class that holds all others.
    for file in descriptors():
        options = file.GetOptions()
        folder = file.package.replace(".", "/")
        assert options.go_package == f"{folder};{''.join(file.package.split('.')[-2:])}"
        assert options.java_multiple_files


def test_no_symbol_of_the_open_inference_protocol_enters_the_pool() -> None:
    assert all(file.package.startswith("crossfade.") for file in descriptors())


def requests() -> Iterator[Descriptor]:
    service = service_pb2.DESCRIPTOR.services_by_name["RegistryService"]
    for method in service.methods:
        if not method.name.startswith(READS) and method.name not in SAME_AGAIN:
            yield method.input_type


@pytest.mark.parametrize("message", list(requests()), ids=lambda message: message.name)
def test_every_mutation_takes_a_request_id(message: Descriptor) -> None:
    assert "request_id" in message.fields_by_name


@pytest.mark.parametrize(
    "name", ["AdvanceRollout", "PauseRollout", "ResumeRollout", "PromoteRollout", "RollbackRollout", "CancelRollout"]
)
def test_every_transition_of_a_rollout_takes_etag_and_sequence(name: str) -> None:
    fields = service_pb2.DESCRIPTOR.message_types_by_name[f"{name}Request"].fields_by_name
    assert {"name", "etag", "analysis_sequence"} <= set(fields)


def test_predict_has_the_open_inference_protocols_numbers() -> None:
    fields = predict_pb2.PredictRequest.DESCRIPTOR.fields_by_name
    assert {name: field.number for name, field in fields.items()} == {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "inputs": 5,
        "outputs": 6,
        "raw_input_contents": 7,
    }
    fields = predict_pb2.PredictResponse.DESCRIPTOR.fields_by_name
    assert {name: field.number for name, field in fields.items()} == {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "outputs": 5,
        "raw_output_contents": 6,
    }
