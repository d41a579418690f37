"""The reference profile travels with its version."""

import pytest

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import service_pb2
from tests.integration.registry.harness import Registry, new_id, refused, version


def profile(**changes: object) -> model_pb2.ReferenceProfile:
    """A profile of one feature."""
    feature = model_pb2.FeatureProfile(feature="age", kind="numeric", edges=[30.0, 60.0], proportions=[0.2, 0.5, 0.3])
    fields: dict[str, object] = {
        "profile_id": "p1",
        "rows": 100,
        "features": [feature],
        "class_proportions": [0.4, 0.6],
        **changes,
    }
    return model_pb2.ReferenceProfile(**fields)  # type: ignore[arg-type]  # fields of the message, by name


def publication(sent: model_pb2.ReferenceProfile) -> service_pb2.PublishVersionRequest:
    return service_pb2.PublishVersionRequest(parent="models/m", version=version(profile=sent), request_id=new_id())


async def test_get_version_answers_the_profile_that_was_published(registry: Registry) -> None:
    await registry.create()
    await registry.stub.PublishVersion(publication(profile()))
    got = await registry.stub.GetVersion(service_pb2.GetVersionRequest(name="models/m/versions/v1"))
    assert got.profile == profile()
    listed = await registry.stub.ListVersions(service_pb2.ListVersionsRequest(parent="models/m"))
    assert not listed.versions[0].HasField("profile")


async def test_a_version_without_one_has_none(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    got = await registry.stub.GetVersion(service_pb2.GetVersionRequest(name="models/m/versions/v1"))
    assert not got.HasField("profile")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("version.profile.profile_id", {"profile_id": ""}),
        ("version.profile.rows", {"rows": 0}),
        ("version.profile.class_proportions", {"class_proportions": [1.0]}),
        ("version.profile.class_proportions", {"class_proportions": [0.4, 0.4]}),
        (
            "version.profile.features[0].proportions",
            {"features": [model_pb2.FeatureProfile(feature="age", proportions=[0.5, float("nan")])]},
        ),
        (
            "version.profile.features[1].feature",
            {"features": [model_pb2.FeatureProfile(feature="age", proportions=[1.0])] * 2},
        ),
        (
            "version.profile.features",
            {"features": [model_pb2.FeatureProfile(feature=f"f{n}", proportions=[1.0]) for n in range(65)]},
        ),
    ],
)
async def test_a_wrong_profile_is_refused_with_its_field(
    registry: Registry, field: str, changes: dict[str, object]
) -> None:
    await registry.create()
    refusal = await refused(registry.stub.PublishVersion(publication(profile(**changes))))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)
