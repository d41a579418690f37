"""Arrays of numpy's default types as the types that inputs take, learnt from refusals."""

from typing import Any

import numpy as np
import pytest

from crossfade.input_types import Asked, InputTypes, advice

FP32 = {"input": "input", "datatype": "FP32"}


def sent(asked: Asked) -> list[str]:
    return [one.datatype for one in asked.message.inputs]


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        (np.array([[0.1]]), "FP32"),
        (np.array([[0.1]], ">f8"), "FP32"),
        (np.array([[1]], ">i8"), "INT32"),
        (np.array([[0.1]], ">f4"), "BF16"),
        ([[0.1, np.nan]], "FP32"),
        ([[0.1]], "FP16"),
        ([[1, 2]], "FP32"),
        ([[1, 2]], "FP64"),
        ([[1, 2]], "INT32"),
        ([[1, 2]], "UINT8"),
        ([[0.1, np.nan, np.inf]], "BF16"),
        (np.array([[0.1]], np.float32), "BF16"),
        ([[1, 2]], "BF16"),
    ],
)
def test_numpys_defaults_become_what_the_input_takes(given: Any, takes: str) -> None:
    types = InputTypes()
    asked = Asked(types, "churn", given)
    assert asked.corrected("INPUT_DTYPE", {"input": "input", "datatype": takes})
    assert sent(asked) == [takes]
    assert sent(Asked(types, "churn", given)) == [takes]


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        (np.zeros((1, 1), np.float32), "FP64"),
        (np.zeros((1, 1), np.int32), "INT64"),
        (np.array([[0.5]]), "INT64"),
        (np.array([[1e300]]), "FP32"),
        (np.array([[1e6]]), "FP16"),
        (np.array([[2**24 + 1]]), "FP32"),
        (np.array([[300]]), "UINT8"),
        (np.array([[257]]), "BF16"),
        (np.array([[1e39]]), "BF16"),
        (np.array([[0.5]], np.float16), "BF16"),
        (np.array([[1]]), "BOOL"),
        (np.array([[True]]), "FP32"),
        (np.array([[0.5]]), ""),
    ],
)
def test_what_was_chosen_or_would_change_is_left(given: Any, takes: str) -> None:
    asked = Asked(InputTypes(), "churn", given)
    before = sent(asked)
    assert not asked.corrected("INPUT_DTYPE", {"input": "input", "datatype": takes})
    assert sent(asked) == before


def test_what_is_masked_is_not_sent_as_if_it_were_not() -> None:
    rows = np.ma.masked_array([[0.1, -9999.0]], [[False, True]])
    with pytest.raises(TypeError, match=r"^input 'input' has masked values, .* give array.filled\(...\) of it$"):
        Asked(InputTypes(), "churn", rows)
    assert sent(Asked(InputTypes(), "churn", rows.filled(np.nan))) == ["FP64"]
    assert sent(Asked(InputTypes(), "churn", np.ma.masked_array([[0.1]]))) == ["FP64"]


def test_other_refusals_correct_nothing() -> None:
    asked = Asked(InputTypes(), "churn", [[0.1]])
    assert not asked.corrected("INPUT_SHAPE", FP32)
    assert not asked.corrected("INPUT_DTYPE", {})
    assert not asked.corrected("INPUT_DTYPE", FP32 | {"input": "other"})
    assert sent(asked) == ["FP64"]


def test_each_input_of_each_model_has_its_own() -> None:
    types = InputTypes()
    rows: dict[str, Any] = {"amount": [[0.1]], "code": [[1]]}
    asked = Asked(types, "churn", rows)
    assert asked.corrected("INPUT_DTYPE", {"input": "code", "datatype": "INT32"})
    assert asked.corrected("INPUT_DTYPE", {"input": "amount", "datatype": "FP32"})
    assert sent(asked) == ["FP32", "INT32"]
    assert sent(Asked(types, "other", rows)) == ["FP64", "INT64"]


def test_a_version_that_takes_another_type_is_followed_and_not_for_ever() -> None:
    types = InputTypes()
    assert Asked(types, "churn", [[0.1]]).corrected("INPUT_DTYPE", FP32)
    asked = Asked(types, "churn", [[0.1]])
    assert sent(asked) == ["FP32"]
    other = FP32 | {"datatype": "FP64"}
    assert asked.corrected("INPUT_DTYPE", other)
    assert sent(asked) == ["FP64"]
    assert [asked.corrected("INPUT_DTYPE", said) for said in (FP32, other, FP32)] == [True, False, False]


def test_the_advice_names_the_input_and_the_type() -> None:
    assert advice("INPUT_DTYPE", FP32) == "send input as X.astype('float32')"
    assert advice("INPUT_DTYPE", FP32 | {"datatype": "BF16"}) == "send input as X.astype('float32')"
    assert advice("INPUT_DTYPE", FP32 | {"datatype": "BYTES"}) == ""
    assert advice("INPUT_SHAPE", FP32) == ""


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"model": 5}, "model 5 is no text: give a str"),
        ({"model": b"churn"}, "model b'churn' is no text: give a str"),
        ({"request_id": 7}, "request_id 7 is no text: give a str"),
        ({"inputs": {1: [[1.0]]}}, "input name 1 is no text: give arrays by the names of the model's inputs"),
    ],
)
def test_a_name_that_is_no_text_is_refused_by_what_it_names(said: dict[str, Any], message: str) -> None:
    request: dict[str, Any] = {"model": "churn", "inputs": [[1.0]], **said}
    with pytest.raises(TypeError, match=f"^{message}$"):
        Asked(InputTypes(), **request)
