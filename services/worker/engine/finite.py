"""Whether what a program gave is all numbers."""

import math
from typing import Final

import numpy as np

from crossfade.tensor_spec import DType
from services.worker.shared_memory.tensors import Array

_FEW: Final = 64


def is_finite(array: Array, dtype: DType) -> bool:
    """Whether an output, as it is stored, holds neither NaN nor an infinity."""
    if dtype is DType.BF16:
        # An exponent of all ones is NaN or an infinity (IEEE 754).
        return not bool(((array & 0x7F80) == 0x7F80).any())
    if array.size <= _FEW:
        # A sum of so few values in double precision is finite unless one of them is not; FP64 alone could overflow.
        return math.isfinite(sum(array.ravel().tolist())) or (dtype is DType.FP64 and bool(np.isfinite(array).all()))
    return bool(np.isfinite(array).all())
