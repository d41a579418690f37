"""Profiles of columns."""

import numpy as np
from numpy.typing import NDArray

from crossfade.binner import INVALID_REASONS
from crossfade.profile import build_profile
from crossfade.reference_profile import Feature
from crossfade.tensor_spec import DType, TensorSpec

NAN, INF, RANGE = (INVALID_REASONS.index(reason) for reason in ("nan", "inf", "range"))


def spec(*shape: int, dtype: DType = DType.FP32) -> TensorSpec:
    return TensorSpec("input", dtype, (-1, *shape))


def column(values: NDArray[np.generic], **options: object) -> Feature:
    profile = build_profile(spec(1), values.reshape(-1, 1), **options)  # type: ignore[arg-type]  # passed through
    (feature,) = profile.features
    return feature
