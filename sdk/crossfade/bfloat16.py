"""bfloat16, the upper half of a float32, which numpy lacks: by its bits, and as the float32 that is the same number."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    """The nearest numbers of eight significant bits, ties to even; what is too large becomes an infinity."""
    with np.errstate(over="ignore"):
        wide = np.ascontiguousarray(values, np.float32)
    bits = wide.view(np.uint32)
    # What rounding adds would make another number of NaN, or none.
    rounded = np.where(np.isnan(wide), bits | 0x400000, bits + np.uint32(0x7FFF) + ((bits >> 16) & 1))
    return (rounded >> 16).astype(np.uint16)


def from_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The same numbers as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
