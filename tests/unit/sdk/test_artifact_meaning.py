from typing import Any

import numpy as np
import pytest

from crossfade.artifact.meaning import Meaning, MeaningError, class_shares, infer_meaning, predictions
from crossfade.manifest import Task
from crossfade.tensor_spec import DType, TensorSpec


def _output(*shape: int, name: str = "output", dtype: DType = DType.FP32) -> TensorSpec:
    return TensorSpec(name, dtype, (-1, *shape))


def _infer(*outputs: TensorSpec, **said: Any) -> Meaning:
    return infer_meaning(outputs, **{"task": None, "labels": None, "classes": None, "positive": None, **said})


@pytest.mark.parametrize(
    ("outputs", "said", "expected"),
    [
        ([_output(3)], {"labels": [0, 2, 1]}, Meaning(Task.CLASSIFICATION, ("0", "1", "2"), None, "output")),
        ([_output(2)], {"labels": [True, False]}, Meaning(Task.CLASSIFICATION, ("0", "1"), None, "output")),
        ([_output(2)], {"labels": ["b", "a", "b"]}, Meaning(Task.CLASSIFICATION, ("a", "b"), None, "output")),
        ([_output(2)], {"classes": np.array(["b", "a"])}, Meaning(Task.CLASSIFICATION, ("b", "a"), None, "output")),
        ([_output(1)], {"labels": [0.5, 0.7]}, Meaning(Task.REGRESSION, None, None, None)),
        (
            [_output(2)],
            {"labels": np.array(["b", "a"], dtype=object)},
            Meaning(Task.CLASSIFICATION, ("a", "b"), None, "output"),
        ),
        (
            [_output(2)],
            {"classes": ["keep", "churn"], "positive": "churn"},
            Meaning(Task.CLASSIFICATION, ("keep", "churn"), "churn", "output"),
        ),
        ([_output(3)], {"task": "classification"}, Meaning(Task.CLASSIFICATION, ("0", "1", "2"), None, "output")),
        (
            [_output(16, name="embedding"), _output(2, name="logits")],
            {"classes": ["a", "b"]},
            Meaning(Task.CLASSIFICATION, ("a", "b"), None, "logits"),
        ),
        ([_output(1)], {}, Meaning(Task.REGRESSION, None, None, None)),
        ([_output()], {"labels": [0.5, 1.5]}, Meaning(Task.REGRESSION, None, None, None)),
        ([_output(1)], {"labels": [1, 2], "task": Task.REGRESSION}, Meaning(Task.REGRESSION, None, None, None)),
        ([_output(5)], {}, Meaning(Task.OTHER, None, None, None)),
        ([_output(dtype=DType.INT64)], {}, Meaning(Task.OTHER, None, None, None)),
        ([_output(1), _output(1, name="other")], {}, Meaning(Task.OTHER, None, None, None)),
    ],
)
def test_what_was_not_said_is_inferred(outputs: list[TensorSpec], said: dict[str, object], expected: Meaning) -> None:
    assert _infer(*outputs, **said) == expected


@pytest.mark.parametrize(
    ("output", "said", "message"),
    [
        (_output(1), {"labels": [0, 1]}, r"a column per class, but the outputs are output \[-1, 1\]. A binary"),
        (_output(3), {"classes": ["a", "b"]}, "with 2 columns, one per class"),
        (_output(3, dtype=DType.INT64), {"labels": [0, 1, 2]}, "an output of floats"),
        (_output(3), {"labels": [1, 2, 3]}, "1 to 3 are no numbers of the 3 classes"),
        (_output(3), {"labels": [0.0, 2.0]}, "floats say no classes: give whole numbers"),
        (_output(2), {"labels": np.array(["a", None], dtype=object)}, "labels: some are missing: leave those rows out"),
        (_output(2), {"labels": np.array(["a", np.nan], dtype=object)}, "labels: some are missing"),
        (_output(3), {"labels": [-1, 1]}, "-1 to 1 are no numbers of the 3 classes"),
        (_output(2), {"positive": "churn"}, "'churn' is not one of the classes 0, 1"),
        (_output(9_000), {"positive": "no"}, "'no' is not one of the classes 0, 1, 2, 3, 4, 5, 6, 7, …"),
        (_output(2), {"task": "clustering"}, "'clustering' is not one of classification, regression, other"),
        (_output(1), {"task": "regression", "classes": ["a"]}, "belong to a classification"),
    ],
)
def test_what_does_not_fit_is_refused(output: TensorSpec, said: dict[str, object], message: str) -> None:
    with pytest.raises(MeaningError, match=message):
        _infer(output, **said)


def test_class_shares_count_the_largest_scores_and_leave_out_nan() -> None:
    meaning = _infer(_output(2), classes=["a", "b"])
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [np.nan, 1.0], [0.7, 0.3]])

    assert class_shares(meaning, {"output": scores}) == {"a": 0.75, "b": 0.25}


def test_there_are_no_class_shares_without_answers_or_without_classes() -> None:
    assert class_shares(_infer(_output(2), labels=[0, 1]), {"output": np.full((3, 2), np.nan)}) is None
    assert class_shares(_infer(_output(1)), {"output": np.ones((3, 1))}) is None


def test_predictions_are_those_of_a_regression() -> None:
    values = np.arange(3.0)

    assert predictions(_infer(_output()), {"output": values}) is values
    assert predictions(_infer(_output(5)), {"output": values}) is None
