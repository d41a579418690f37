"""NaN and infinities in requests: for the model, or refused."""

import numpy as np
import pytest

from crossfade.manifest import NanPolicy
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.errors import InvalidArgumentError
from services.worker.front_end.finite_inputs import FiniteInputs, said_of_row

SIGNATURE = Signature(
    (
        TensorSpec("n", DType.INT64, (-1,)),
        TensorSpec("x", DType.FP32, (-1, 3)),
        TensorSpec("half", DType.BF16, (-1, 2)),
    ),
    (TensorSpec("y", DType.FP32, (-1,)),),
)
ONE_IN_BF16, NAN_IN_BF16, INFINITY_IN_BF16 = 0x3F80, 0x7FC0, 0x7F80


def rows() -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32 | np.int64 | np.int16]]]:
    return [np.zeros(4, np.int64), np.zeros((4, 3), np.float32), np.full((4, 2), ONE_IN_BF16, np.int16)]


def test_finite_rows_pass() -> None:
    FiniteInputs(SIGNATURE, NanPolicy.RAISE).check(rows())


@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
def test_the_first_bad_row_is_named(what: float) -> None:
    inputs = rows()
    inputs[1][2:, 1] = what
    with pytest.raises(InvalidArgumentError, match="input 'x' holds NaN or an infinity in row 2") as raised:
        FiniteInputs(SIGNATURE, NanPolicy.RAISE).check(inputs)
    assert (raised.value.reason, raised.value.field) == ("INPUT_NOT_FINITE", "inputs[1]")
    FiniteInputs(SIGNATURE, NanPolicy.PROPAGATE).check(inputs)


@pytest.mark.parametrize("bits", [NAN_IN_BF16, INFINITY_IN_BF16])
def test_bfloat16_is_read_as_such(bits: int) -> None:
    inputs = rows()
    inputs[2][3, 0] = bits
    with pytest.raises(InvalidArgumentError, match="input 'half' holds NaN or an infinity in row 3"):
        FiniteInputs(SIGNATURE, NanPolicy.RAISE).check(inputs)


def test_of_a_row_with_a_bad_answer_the_bad_input_is_told() -> None:
    inputs = rows()
    inputs[1][2, 1] = -np.inf
    inputs[2][3, 0] = NAN_IN_BF16
    told = "; its input {!r} holds NaN or an infinity there: leave such rows out, or fill in what is missing"
    said = [said_of_row(SIGNATURE, inputs, row) for row in range(4)]
    assert said == ["", "", told.format("x"), told.format("half")]
