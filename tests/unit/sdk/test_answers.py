"""What callers say turned out to be true: which entries are labels, which are numbers, and which are neither."""

from typing import Any

import numpy as np
import pytest

from crossfade.answers import Answer
from crossfade.observing import MAX_LABELLED_ROWS, observations_of, summarize
from crossfade.predict.v1 import predict_pb2
from crossfade.predict.v1.predict_pb2 import ObservationResult
from services.common.prediction_token import MAX_ROWS

ANSWER = Answer("churn", "v1", {"score": np.zeros((3, 1), np.float32)}, "token", "request")
ONE_ROW = Answer("churn", "v1", {"score": np.zeros((1, 1), np.float32)}, "token", "request")


def test_texts_are_labels_and_numbers_are_values() -> None:
    found = observations_of(ANSWER, ["1", None, np.float32(2.5)])
    assert [(one.row, one.WhichOneof("observed")) for one in found] == [(0, "label"), (2, "value")]
    assert (found[0].label, found[1].value) == ("1", 2.5)
    assert [one.value for one in observations_of(ANSWER, np.array([1, 0, 3]))] == [1.0, 0.0, 3.0]


@pytest.mark.parametrize(
    "entry", [True, np.True_, b"1", b"yes", np.bytes_("1"), ("yes", 1.0), ("yes", [1.0, 2.0]), np.array([1.0, 2.0])]
)
def test_an_entry_that_is_neither_says_what_to_write(entry: object) -> None:
    with pytest.raises(TypeError, match=r"^row 1: .* is neither a text nor a number: write a class by its name"):
        observations_of(ANSWER, ["1", entry])


@pytest.mark.parametrize("observed", [b"yes", bytearray(b"yes")])
@pytest.mark.parametrize("answer", [ONE_ROW, "token"])
def test_bytes_are_no_numbers_of_several_rows(answer: Answer | str, observed: Any) -> None:
    with pytest.raises(TypeError, match=r"^row 0: .*b'yes'.* is neither a text nor a number"):
        observations_of(answer, observed)


def test_entries_that_come_one_by_one_are_to_be_a_list() -> None:
    given: list[Any] = [(label for label in ["yes", "no"]), iter(["yes"]), map(str, [1])]
    for observed in given:
        with pytest.raises(TypeError, match=r"^a \w+ is no list: give list\(\.\.\.\) of it, one entry per row"):
            observations_of(ANSWER, observed)


@pytest.mark.parametrize("observed", [{"yes", "no"}, {0: "yes", 2: "no"}])
def test_entries_without_an_order_are_refused(observed: Any) -> None:
    with pytest.raises(TypeError, match="does not say which row an entry is about: give a list, row by row"):
        observations_of(ANSWER, observed)


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


def test_labels_that_come_later_need_the_prediction_id_alone() -> None:
    found = observations_of("token", ["keep", None, 2.5])
    assert [(one.prediction_id, one.row, one.WhichOneof("observed")) for one in found] == [
        ("token", 0, "label"),
        ("token", 2, "value"),
    ]
    assert observations_of(ANSWER, ["keep"]) == observations_of(ANSWER.prediction_id, "keep")


def test_entries_may_be_of_some_rows() -> None:
    found = observations_of("token", ["keep", "churn"], rows=np.array([7, 2]))
    assert [(one.row, one.label) for one in found] == [(7, "keep"), (2, "churn")]
    (one,) = observations_of(ANSWER, "keep", rows=2)
    assert (one.row, one.label) == (2, "keep")


@pytest.mark.parametrize("answer", [None, 3, b"token", np.zeros(2), predict_pb2.PredictResponse()])
def test_what_is_no_answer_is_refused_with_what_to_give(answer: Any) -> None:
    with pytest.raises(TypeError, match="is neither an answer nor a prediction id: give what `predict` returned"):
        observations_of(answer, ["keep"])


def test_no_id_and_no_entries_are_mistakes() -> None:
    with pytest.raises(ValueError, match="the prediction id is empty"):
        observations_of("", ["keep"])
    nothing: Any = None
    with pytest.raises(TypeError, match="None is no entry"):
        observations_of("token", nothing)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([0], "2 entries for 1 row numbers"),
        ([1, 1], "name a row twice"),
        ([0, 3], "there is no row 3: the answer has 3 rows"),
        ([-1, 0], "there is no row -1"),
    ],
)
def test_row_numbers_that_cannot_be_are_refused(rows: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        observations_of(ANSWER, ["keep", "churn"], rows)


@pytest.mark.parametrize("row", [True, 1.0, "1", None])
def test_a_row_is_a_whole_number(row: Any) -> None:
    with pytest.raises(TypeError, match="is no whole number"):
        observations_of(ANSWER, ["keep"], [row])


@pytest.mark.parametrize("many", ["token", Answer("churn", "v1", {"score": np.zeros((100, 2))}, "token", "request")])
def test_labels_of_rows_that_take_none_are_not_lost_in_silence(many: Answer | str) -> None:
    assert MAX_LABELLED_ROWS == MAX_ROWS
    with pytest.raises(ValueError, match=r"^row 64 takes no feedback: the first 64 rows of a call do\. Give None"):
        observations_of(many, ["keep"] * 100)
    with pytest.raises(ValueError, match="row 64 takes no feedback"):
        observations_of(many, "keep", rows=64)
    assert len(observations_of(many, ["keep"] * 64 + [None] * 36)) == 64


def test_an_answer_is_shown_without_its_rows() -> None:
    answer = Answer("churn", "v2", {"scores": np.zeros((1000, 2), np.float32)}, "a" * 200, "request")
    assert repr(answer) == f"<Answer of churn v2: scores float32 [1000, 2]; prediction_id {'a' * 12}…>"
    assert repr(Answer("churn", "v2", {}, "", "request")) == "<Answer of churn v2: no outputs; no feedback>"
