import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

from evaluator.statistics.confusion import (
    Confusion,
    f1_from_unlike,
    false_alarms,
    imprecision,
    missed,
    unlike,
    unlike_from_f1,
    unlike_margin,
    wrong,
)

ACTUAL = [0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 1, 2]
PREDICTED = [0, 1, 1, 1, 0, 2, 2, 1, 0, 0, 1, 2]
# sklearn's matrix is [actual][predicted].
MATRIX = confusion_matrix(ACTUAL, PREDICTED).T.tolist()


@pytest.mark.parametrize("positive", [0, 1, 2])
def test_rates_agree_with_another_library(positive: int) -> None:
    counts = Confusion.of(MATRIX, positive)
    arguments = {"labels": [positive], "average": "micro"}
    precision, recall, f1 = (
        score(ACTUAL, PREDICTED, **arguments) for score in (precision_score, recall_score, f1_score)
    )
    n, x = imprecision(counts)
    assert 1 - x / n == pytest.approx(precision)
    n, x = missed(counts)
    assert 1 - x / n == pytest.approx(recall)
    n, x = unlike(counts)
    assert f1_from_unlike(x / n) == pytest.approx(f1)
    n, x = false_alarms(counts)
    assert n == sum(actual != positive for actual in ACTUAL)
    assert x == sum(p == positive != a for a, p in zip(ACTUAL, PREDICTED, strict=True))


def test_wrong_answers_of_all_labels() -> None:
    assert wrong(MATRIX) == (12, 4)


def test_the_margin_of_f1_is_that_of_the_jaccard_index_to_first_order() -> None:
    f1, delta = 0.9, 1e-5
    jaccard = f1 / (2 - f1)
    worse = (f1 - delta) / (2 - (f1 - delta))
    assert unlike_margin(delta, f1) == pytest.approx(jaccard - worse, rel=1e-4)


@pytest.mark.parametrize(("f1", "delta"), [(0.9, 0.2), (0.5, 0.02), (0.95, 0.6), (0.9, -0.05), (0.4, -0.1)])
def test_a_margin_of_f1_is_exact_however_large(f1: float, delta: float) -> None:
    line = unlike_from_f1(f1) + unlike_margin(delta, f1)
    assert f1_from_unlike(line) == pytest.approx(f1 - delta)
    assert unlike_margin(delta, f1) == pytest.approx(2 * delta / ((2 - f1) * (2 - f1 + delta)))


def test_no_f1_is_worse_than_0_or_better_than_1() -> None:
    assert unlike_from_f1(0.3) + unlike_margin(0.6, 0.3) == pytest.approx(1.0)
    assert unlike_from_f1(0.98) + unlike_margin(-0.1, 0.98) == pytest.approx(0.0)


def test_bad_matrices_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        wrong([[1, 2, 3], [4, 5, 6]])
    with pytest.raises(ValueError, match="square"):
        Confusion.of([[1, 2]], 0)
    with pytest.raises(ValueError, match="class 2 is not one of the matrix's 2"):
        Confusion.of([[1, 2], [3, 4]], 2)
    with pytest.raises(ValueError, match="matrix must be at least 0"):
        wrong([[1, -2], [3, 4]])
    with pytest.raises(ValueError, match="rate"):
        f1_from_unlike(1.5)
    for f1 in (-0.1, 1.2):
        with pytest.raises(ValueError, match="F1 must lie in"):
            unlike_margin(0.02, f1)
        with pytest.raises(ValueError, match="F1 must lie in"):
            unlike_from_f1(f1)
