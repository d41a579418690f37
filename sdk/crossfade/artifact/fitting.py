"""A profile made of a file, fitted to the model that it is to be the reference of."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossfade import bfloat16
from crossfade.artifact.folder import numpy_dtype
from crossfade.name_checks import some
from crossfade.profile import ProfileError, column_names
from crossfade.profiling.profile_file import Names, ProfileFile
from crossfade.reference_profile import Feature, FeatureKind, Profile
from crossfade.strict_json import FieldError
from crossfade.tensor_spec import DType, TensorSpec


def fit_profile(
    file: ProfileFile,
    spec: TensorSpec,
    classes: Sequence[str] | None,
    feature_names: Sequence[str] | None = None,
) -> Profile:
    """The reference profile of one input of a model.

    Args:
        file: what was made of training data.
        spec: the input.
        classes: the model's classes, in their order; None: it is no classification.
        feature_names: a name per column of the input, flattened: features are looked up by them. By default the
            file's columns, but for the label and those excluded, are the input's, in their order.

    Raises:
        ProfileError: it does not fit; the message names the feature and what to change.
    """
    names = None if feature_names is None else column_names(spec, feature_names)
    by_position = file.names is Names.POSITIONS
    # Columns without names can only be the input's in their order, whatever the input calls its own.
    if (names is None or by_position) and file.width != spec.width:
        raise ProfileError(
            f"profile: {file.source} has {file.width} columns beside the label and what was excluded, and the input "
            f"{spec.name!r} has {spec.width}: exclude what is no input of the model (crossfade profile {file.source} "
            "--exclude ...), or name the input's columns in their order (feature_names, --features)"
        )
    placed = [
        _placed(one, spec, by_position=by_position) if names is None else _found(one, names, by_position=by_position)
        for one in file.profile.features
    ]
    try:
        features = tuple(_typed(one, spec) for one in placed)
        return Profile.of(spec.name, file.profile.rows, features, _class_shares(file, classes), None)
    except FieldError as error:
        raise ProfileError(f"profile: {error}") from error


def _placed(feature: Feature, spec: TensorSpec, *, by_position: bool) -> Feature:
    return replace(feature, name=column_names(spec, None)[feature.index]) if by_position else feature


def _found(feature: Feature, names: Sequence[str], *, by_position: bool) -> Feature:
    if by_position:
        if feature.index >= len(names):
            raise ProfileError(
                f"profile: the feature {feature.name!r} is column {feature.index}, and the input has {len(names)}"
            )
        return replace(feature, name=names[feature.index])
    if feature.name not in names:
        near = difflib.get_close_matches(feature.name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "leave it out of the profile (--exclude)"
        raise ProfileError(f"profile: the input has no column {feature.name!r}: {hint}")
    return replace(feature, index=list(names).index(feature.name))


def _typed(feature: Feature, spec: TensorSpec) -> Feature:
    """The feature with its values as the input's type holds them."""
    edges = np.array(feature.edges)
    if not spec.dtype.is_float:
        _check_whole(feature, spec, edges)
        return feature
    # Workers compare with what they got: 0.1 arrives as the nearest number of the input's type.
    rounded = _rounded(edges, spec.dtype)
    if not (np.isfinite(rounded).all() and (np.diff(rounded) > 0).all()):
        what = "categories" if feature.kind is FeatureKind.CATEGORICAL else "values that the bins tell apart"
        raise ProfileError(
            f"profile: {what} of {feature.name!r} are one and the same in {spec.dtype}, the type of the input "
            f"{spec.name!r}, or too large for it (about {edges[-1]:g}): is the file what the model gets, scaled and "
            "encoded?"
        )
    return replace(feature, edges=tuple(float(edge) for edge in rounded))


def _check_whole(feature: Feature, spec: TensorSpec, edges: NDArray[np.float64]) -> None:
    takes = f"the input {spec.name!r} takes {spec.dtype}"
    if feature.missing is not None:
        raise ProfileError(
            f"profile: {feature.name!r} is missing in {100 * feature.missing:.2g} % of the rows, and {takes}, which "
            "can't say that a value is missing: fill it in as the model's callers do, and make the profile of that"
        )
    dtype: np.dtype[Any] = numpy_dtype(spec.dtype)
    least, greatest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    beyond = edges[(edges < least) | (edges > greatest)]
    if beyond.size:
        raise ProfileError(
            f"profile: {feature.name!r} has values about {beyond[0]:g}, and {takes} ({least} to {greatest}): is the "
            "file what the model gets, scaled and encoded?"
        )
    if feature.kind is FeatureKind.CATEGORICAL and (edges != np.round(edges)).any():
        raise ProfileError(
            f"profile: {feature.name!r} has the category {edges[edges != np.round(edges)][0]:g}, and {takes}"
        )


def _rounded(values: NDArray[np.float64], dtype: DType) -> NDArray[np.float64]:
    if dtype is DType.BF16:
        return bfloat16.from_bits(bfloat16.to_bits(values)).astype(np.float64)
    with np.errstate(over="ignore"):
        return values.astype(numpy_dtype(dtype)).astype(np.float64)


def _class_shares(file: ProfileFile, classes: Sequence[str] | None) -> dict[str, float] | None:
    """The label's proportions under the model's names of the classes, in their order."""
    shares = file.profile.classes
    if shares is None:
        return None
    if classes is None:
        raise ProfileError(
            f"profile: it has the balance of the classes {', '.join(list(shares)[:5])}, and the model is no "
            "classification: make the profile without --label"
        )
    if set(shares) <= set(classes):
        return {name: shares.get(name, 0.0) for name in classes}
    numbers = [str(number) for number in range(len(classes))]
    if set(shares) <= set(numbers):
        # Labels are the classes' numbers, as in package(labels=...).
        return {name: shares.get(number, 0.0) for number, name in zip(numbers, classes, strict=True)}
    foreign = [name for name in shares if name not in classes]
    unknown = next((name for name in foreign if name not in numbers), foreign[0])
    raise ProfileError(f"profile: the label has the class {unknown!r}, which the model does not have ({some(classes)})")
