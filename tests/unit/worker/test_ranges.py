"""Numbers that a program looks up, before they are queued."""

import numpy as np
import pytest

from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.errors import InternalError
from services.worker.front_end.ranges import Ranges

SIGNATURE = Signature(
    (TensorSpec("x", DType.FP32, (-1, 3)), TensorSpec("n", DType.INT8, (-1,))),
    (TensorSpec("scores", DType.FP32, (-1, 2)),),
)
X = np.full((2, 3), 1e9, np.float32)


@pytest.mark.parametrize("numbers", [[0, 4], [], [4, 4]])
def test_what_is_in_the_table_passes(numbers: list[int]) -> None:
    Ranges(SIGNATURE, (0, 5)).check([X, np.array(numbers, np.int8)])


@pytest.mark.parametrize(("numbers", "worst"), [([1, 5], 5), ([-1, 2], -1), ([-7, 9], 9), ([127, -128], 127)])
def test_what_is_not_is_as_if_the_model_had_raised(numbers: list[int], worst: int) -> None:
    with pytest.raises(InternalError, match=f"'n' has {worst}, and the model looks it up among 0 to 4") as raised:
        Ranges(SIGNATURE, (0, 5)).check([X, np.array(numbers, np.int8)])
    assert raised.value.reason == "MODEL_RAISED"
