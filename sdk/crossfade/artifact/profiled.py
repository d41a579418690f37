"""The reference profile of a model that is being packaged: of which input, and from which rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.artifact.meaning import Meaning, class_shares, predictions
from crossfade.loop import Loop
from crossfade.profile import ProfileError, build_profile
from crossfade.reference_profile import Profile
from crossfade.tensor_spec import Signature, TensorSpec

if TYPE_CHECKING:
    from crossfade.artifact.exporting import ExportableModel

# One array, tensor or table of rows, or a tuple, list or dict of several.
Inputs = Any


def profile_of_reference(
    model: "ExportableModel",
    reference: Inputs,
    profiled: TensorSpec,
    meaning: Meaning,
    *,
    names: Sequence[str] | None,
    features: Sequence[int | str] | None,
    categorical: Sequence[int | str],
) -> Profile:
    """What the training inputs, and the model's answers to them, look like.

    Raises:
        ProfileError: with what to change.
    """
    rows = model.answer_reference(reference)
    return build_profile(
        profiled,
        rows.inputs[profiled.name],
        names=names or _column_names(reference),
        features=features,
        categorical=categorical,
        classes=class_shares(meaning, rows.outputs),
        predictions=predictions(meaning, rows.outputs),
    )


def refuse_beside_profile(
    reference: Inputs | None, features: Sequence[int | str] | None, categorical: Sequence[int | str]
) -> None:
    if reference is not None or features is not None or categorical:
        raise ProfileError("profile: it takes the place of reference, features and categorical: leave them out")


def refuse_without_reference(**said: Any) -> None:
    for name, value in said.items():
        if value is not None:
            raise ProfileError(
                f"{name}: it is about the profile of training inputs, and there is neither a reference nor a profile: "
                "give one, or leave it out"
            )


def profiled_input(signature: Signature, name: str | None, loop: Loop | None) -> TensorSpec:
    names = ", ".join(spec.name for spec in signature.inputs)
    for spec in signature.inputs:
        if spec.name == name:
            return spec
    if name is not None:
        raise ProfileError(f"profile_input: {name!r} is not one of the inputs {names}")
    # What callers give says more of them than state that begins as zeros.
    fed = loop.feeds if loop is not None else ()
    given = [spec for spec in signature.inputs if spec.name not in fed] or signature.inputs
    return next((spec for spec in given if spec.dtype.is_float), given[0])


def _column_names(reference: Inputs) -> Sequence[str] | None:
    columns = getattr(reference, "columns", None)
    return None if columns is None else [str(name) for name in columns]
