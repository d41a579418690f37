"""From an artifact on disk to the message that publishes it."""

from crossfade.artifact.folder import Artifact
from crossfade.common.v1 import model_pb2
from crossfade.manifest import Manifest
from crossfade.reference_profile import Profile
from crossfade.registry.v1 import resources_pb2
from crossfade.tensor_spec import TensorSpec


def version_of(artifact: Artifact, uri: str = "", description: str = "") -> resources_pb2.Version:
    """The `version` of a PublishVersionRequest.

    Args:
        artifact: what `crossfade.artifact.package` or `verify` answered.
        uri: where Workers fetch it from. Default: where it lies on this machine, as `file://…`.
        description: what changed, for people.
    """
    manifest = artifact.manifest
    return resources_pb2.Version(
        artifact=model_pb2.Artifact(
            uri=uri or artifact.path.resolve().as_uri(), digest=artifact.digest, size_bytes=artifact.size
        ),
        signature=signature_of(manifest),
        description=description,
        profile=None if manifest.profile is None else _profile(manifest.profile, manifest.classes or ()),
    )


def signature_of(manifest: Manifest) -> model_pb2.Signature:
    """What the Registry knows of a version's tensors."""
    loop = manifest.loop
    return model_pb2.Signature(
        inputs=[_tensor(spec) for spec in manifest.signature.inputs],
        outputs=[_tensor(spec) for spec in manifest.signature.outputs],
        task=manifest.task.value,
        classes=manifest.classes or (),
        positive_class=manifest.positive_class or "",
        parts=loop.parts if loop else (),
        state=loop.state if loop else (),
    )


def _tensor(spec: TensorSpec) -> model_pb2.TensorSpec:
    return model_pb2.TensorSpec(name=spec.name, datatype=spec.dtype.value, shape=spec.shape)


def _profile(profile: Profile, classes: tuple[str, ...]) -> model_pb2.ReferenceProfile:
    return model_pb2.ReferenceProfile(
        profile_id=profile.id,
        rows=profile.rows,
        features=[
            model_pb2.FeatureProfile(
                feature=feature.name, kind=feature.kind.value, edges=feature.edges, proportions=feature.proportions
            )
            for feature in profile.features
        ],
        class_proportions=[] if profile.classes is None else [profile.classes.get(name, 0.0) for name in classes],
    )
