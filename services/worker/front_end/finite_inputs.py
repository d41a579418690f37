"""NaN and infinities in requests: found before they are queued where a version does not take them, or named after."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from crossfade.manifest import NanPolicy
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.errors import InvalidArgumentError
from services.worker.shared_memory.tensors import Array, to_numbers

_ADVICE: Final = "leave such rows out, or fill in what is missing"


class FiniteInputs:
    """What a version's policy says of its inputs.

    Args:
        signature: of the inputs.
        policy: whether such requests are refused.
    """

    def __init__(self, signature: Signature, policy: NanPolicy) -> None:
        refuses = policy is NanPolicy.RAISE
        self._floats = [(place, spec) for place, spec in enumerate(signature.inputs) if refuses and spec.dtype.is_float]

    def check(self, inputs: Sequence[Array]) -> None:
        """Refuses inputs that the version does not take.

        Raises:
            InvalidArgumentError: INPUT_NOT_FINITE.
        """
        for place, spec in self._floats:
            array = inputs[place]
            finite = _finite(spec, array)
            if not finite.all():
                row = int(np.argwhere(~finite)[0][0])
                raise InvalidArgumentError(
                    "INPUT_NOT_FINITE",
                    f"input {spec.name!r} holds NaN or an infinity in row {row}, which this version refuses: {_ADVICE}",
                    field=f"inputs[{place}]",
                )


def said_of_row(signature: Signature, inputs: Sequence[Array], row: int) -> str:
    """What to tell the caller whose row `row` got NaN or an infinity: that it held one; empty: it held none."""
    for spec, array in zip(signature.inputs, inputs, strict=True):
        if spec.dtype.is_float and not _finite(spec, array[row]).all():
            return f"; its input {spec.name!r} holds NaN or an infinity there: {_ADVICE}"
    return ""


def _finite(spec: TensorSpec, array: Array) -> Array:
    return np.isfinite(to_numbers(spec.dtype, array) if spec.dtype is DType.BF16 else array)
