"""NaN and infinities in requests, found before they are queued where a version does not take them."""

from collections.abc import Sequence

import numpy as np

from crossfade.manifest import NanPolicy
from crossfade.tensor_spec import DType, Signature
from services.common.errors import InvalidArgumentError
from services.worker.shared_memory.tensors import Array, to_numbers


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
            finite = np.isfinite(to_numbers(spec.dtype, array) if spec.dtype is DType.BF16 else array)
            if not finite.all():
                row = int(np.argwhere(~finite)[0][0])
                raise InvalidArgumentError(
                    "INPUT_NOT_FINITE",
                    f"input {spec.name!r} holds NaN or an infinity in row {row}, which this version refuses: leave "
                    "such rows out, or fill in what is missing",
                    field=f"inputs[{place}]",
                )
