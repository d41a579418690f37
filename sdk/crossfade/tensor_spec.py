"""What a program takes and gives: its tensors, by name, type and shape."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from crossfade.name_checks import check_tensor_name, check_unique
from crossfade.strict_json import require

BATCH: Final = -1
"""The first size of every tensor: its rows."""


class DType(StrEnum):
    """Element types, by their Open Inference Protocol names."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"

    @property
    def is_float(self) -> bool:
        return self in {DType.FP16, DType.BF16, DType.FP32, DType.FP64}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output tensor. The first of `shape` is -1, the batch; the others are fixed."""

    name: str
    dtype: DType
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check_tensor_name("name", self.name)
        require(self.shape[:1] == (BATCH,), "shape", "must begin with -1, the batch dimension")
        require(all(size > 0 for size in self.shape[1:]), "shape", "sizes after the batch must be positive")

    @property
    def width(self) -> int:
        """Number of elements in one row."""
        return math.prod(self.shape[1:])


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs, in the order in which the program takes them, and outputs, in the order in which it returns them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        for field, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            require(specs, field, "must not be empty")
            check_unique(field, (spec.name for spec in specs))
