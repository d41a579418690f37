"""What callers say turned out to be true: which entries are labels, which are numbers, and which are neither."""

import numpy as np
import pytest

from crossfade.answers import Answer, observations_of

ANSWER = Answer("churn", "v1", {"score": np.zeros((3, 1), np.float32)}, "token", "request")


def test_texts_are_labels_and_numbers_are_values() -> None:
    found = observations_of(ANSWER, ["1", None, np.float32(2.5)])
    assert [(one.row, one.WhichOneof("observed")) for one in found] == [(0, "label"), (2, "value")]
    assert (found[0].label, found[1].value) == ("1", 2.5)
    assert [one.value for one in observations_of(ANSWER, np.array([1, 0, 3]))] == [1.0, 0.0, 3.0]


@pytest.mark.parametrize("entry", [True, np.True_, ("yes", 1.0), np.array([1.0, 2.0])])
def test_an_entry_that_is_neither_says_what_to_write(entry: object) -> None:
    with pytest.raises(TypeError, match=r"^row 1: .* is neither a text nor a number: write a class by its name"):
        observations_of(ANSWER, ["1", entry])


def test_more_entries_than_rows_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"4 entries for 3 rows"):
        observations_of(ANSWER, [1.0] * 4)
