"""Names of enum values, of those as well that a newer release has added."""

import pytest
from google.protobuf.descriptor import EnumDescriptor

from crossfade.cli.render.style import rollout_word, serving_word, version_word
from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.enum_names import enum_name
from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2
from crossfade.router.v1 import router_pb2

FILES = (analysis_pb2, model_pb2, policy_pb2, evaluator_pb2, predict_pb2, resources_pb2, router_pb2)
ENUMS = [one for file in FILES for one in file.DESCRIPTOR.enum_types_by_name.values()]


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.name)
def test_every_value_is_told_without_the_name_of_its_enum(kind: EnumDescriptor) -> None:
    said = [enum_name(kind, value.number) for value in kind.values]
    assert said[0] == "UNSPECIFIED"
    assert all(value.name.endswith(f"_{name}") for value, name in zip(kind.values, said, strict=True))
    assert len({value.name.removesuffix(name) for value, name in zip(kind.values, said, strict=True)}) == 1


def test_a_value_of_a_newer_release_is_told_by_its_number() -> None:
    assert enum_name(resources_pb2.RolloutState.DESCRIPTOR, 99) == "99"
    assert rollout_word(99) == serving_word(99) == version_word(99) == "99"  # type: ignore[arg-type] # newer ones
