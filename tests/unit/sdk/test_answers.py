"""What callers say turned out to be true: which entries are labels, which are numbers, and which are neither."""

from typing import Any

import numpy as np
import pytest

from crossfade.answers import Answer, observations_of, summarize
from crossfade.predict.v1.predict_pb2 import ObservationResult

ANSWER = Answer("churn", "v1", {"score": np.zeros((3, 1), np.float32)}, "token", "request")
ONE_ROW = Answer("churn", "v1", {"score": np.zeros((1, 1), np.float32)}, "token", "request")


def test_texts_are_labels_and_numbers_are_values() -> None:
    found = observations_of(ANSWER, ["1", None, np.float32(2.5)])
    assert [(one.row, one.WhichOneof("observed")) for one in found] == [(0, "label"), (2, "value")]
    assert (found[0].label, found[1].value) == ("1", 2.5)
    assert [one.value for one in observations_of(ANSWER, np.array([1, 0, 3]))] == [1.0, 0.0, 3.0]


@pytest.mark.parametrize("entry", [True, np.True_, ("yes", 1.0), ("yes", [1.0, 2.0]), np.array([1.0, 2.0])])
def test_an_entry_that_is_neither_says_what_to_write(entry: object) -> None:
    with pytest.raises(TypeError, match=r"^row 1: .* is neither a text nor a number: write a class by its name"):
        observations_of(ANSWER, ["1", entry])


def test_more_entries_than_rows_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"4 entries for 3 rows"):
        observations_of(ANSWER, [1.0] * 4)


def test_entries_may_have_the_shape_of_the_models_own_output() -> None:
    found = observations_of(ANSWER, np.array([[1.5], [0.0], [3.0]], np.float32))
    assert [(one.row, one.value) for one in found] == [(0, 1.5), (1, 0.0), (2, 3.0)]
    assert [one.label for one in observations_of(ANSWER, [["yes"], ["no"], [None]])] == ["yes", "no"]


def test_one_row_needs_no_list() -> None:
    (label,) = observations_of(ONE_ROW, "benign")
    assert (label.row, label.label) == (0, "benign")
    numbers: list[Any] = [2.5, np.float32(2.5), np.array(2.5)]
    for number in numbers:
        (value,) = observations_of(ONE_ROW, number)
        assert value.value == 2.5


def test_one_entry_for_several_rows_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"^'no' is one entry for 3 rows: give a list with one per row"):
        observations_of(ANSWER, "no")


def test_the_summary_says_how_many_were_labels() -> None:
    """Class numbers are values: who waits for labels must see that none came."""
    said = observations_of(ANSWER, [1, "1", 0])
    results = [ObservationResult(status=ObservationResult.STATUS_ACCEPTED)] * 2
    late = ObservationResult(status=ObservationResult.STATUS_TOO_LATE)
    summary = summarize(said, [*results, late])
    assert (summary.accepted, summary.labels, summary.values, summary.too_late) == (2, 1, 1, 1)


def test_a_part_of_a_stream_says_that_the_last_one_takes_feedback() -> None:
    part = Answer("writer", "v1", {"character": np.zeros((1, 1), np.int64)}, "", "request")
    with pytest.raises(ValueError, match="of a stream the last part alone has one"):
        observations_of(part, ["a"])
