"""Numbers that a program looks up in a table, held against the table's size before they are queued."""

from collections.abc import Sequence

from crossfade.tensor_spec import Signature
from services.common.errors import InternalError
from services.worker.shared_memory.tensors import Array


class Ranges:
    """The numbers that each input may have.

    Args:
        signature: names the inputs.
        bounds: what each one's numbers must be less than, and not negative; 0: any will do.
    """

    def __init__(self, signature: Signature, bounds: Sequence[int]) -> None:
        self._bounds = [
            (place, spec.name, bound)
            for place, (spec, bound) in enumerate(zip(signature.inputs, bounds, strict=True))
            if bound
        ]

    def check(self, inputs: Sequence[Array]) -> None:
        """Refuses what the program would raise for; whose mistake it is, the caller's or the version's, nobody knows.

        Raises:
            InternalError: MODEL_RAISED.
        """
        for place, name, bound in self._bounds:
            array = inputs[place]
            if array.size and (array.min() < 0 or array.max() >= bound):
                worst = array.max() if array.max() >= bound else array.min()
                raise InternalError(
                    "MODEL_RAISED", f"input {name!r} has {worst}, and the model looks it up among 0 to {bound - 1}"
                )
