"""The signature that the Registry holds against the one in the artifact's manifest."""

from crossfade.manifest import Manifest
from crossfade.tensor_spec import TensorSpec
from services.worker.domain import LoadError, SignatureRef, TensorRef


def check_signature(declared: SignatureRef, manifest: Manifest) -> None:
    """Refuses an artifact that is not what was published under its version.

    Raises:
        LoadError: the message names the first difference.
    """
    loop = manifest.loop
    pairs: tuple[tuple[str, object, object], ...] = (
        ("inputs", declared.inputs, _tensors(manifest.signature.inputs)),
        ("outputs", declared.outputs, _tensors(manifest.signature.outputs)),
        ("task", declared.task, str(manifest.task)),
        ("classes", declared.classes, manifest.classes or ()),
        ("parts", declared.parts, loop.parts if loop else ()),
        ("state", declared.state, loop.state if loop else ()),
    )
    for name, published, found in pairs:
        if published != found:
            raise LoadError(
                f"the artifact's {name} are not those that were published: {found}, published were {published}"
            )


def _tensors(specs: tuple[TensorSpec, ...]) -> tuple[TensorRef, ...]:
    return tuple(TensorRef(spec.name, str(spec.dtype), spec.shape) for spec in specs)
