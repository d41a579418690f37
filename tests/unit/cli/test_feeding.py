"""What `crossfade feedback` says became of labels and numbers."""

from pathlib import Path

import pytest

from crossfade.cli.actions.feeding import describe, labels_in, send_feedback, why_refused
from crossfade.cli.common import Options
from crossfade.cli.context import Session
from crossfade.cli.errors import UsageError
from crossfade.observing import FeedbackSummary


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (FeedbackSummary(5, 3, 2, 0, 0, ()), "3 labels and 2 values counted"),
        (FeedbackSummary(1, 0, 1, 0, 0, ()), "1 value counted"),
        (FeedbackSummary(0, 0, 0, 1, 2, ()), "0 labels counted; 1 had come before and count once; 2 came too late"),
    ],
)
def test_labels_and_values_are_told_apart(summary: FeedbackSummary, said: str) -> None:
    assert describe(summary).startswith(said)


def test_of_many_reasons_the_first_ones_are_said_and_each_once() -> None:
    assert why_refused(["not ours"] * 2_000) == "not ours"
    reasons = [f"row {row} takes no label" for row in range(6)]
    assert why_refused(reasons[:5]) == "; ".join(reasons[:5])
    assert why_refused(reasons) == "; ".join(reasons[:5]) + "; and 1 more reason; --json has them all"
    many = why_refused([f"row {row} takes no label" for row in range(2_000)])
    assert many == "; ".join(reasons[:5]) + "; and 1,995 more reasons; --json has them all"


@pytest.mark.parametrize("content", ["[" * 100_000 + "]" * 100_000, "[]", '{"prediction_id": 5}', "{"])
def test_a_file_that_holds_no_answer_is_wrong_usage(tmp_path: Path, content: str) -> None:
    saved = tmp_path / "answer.json"
    saved.write_text(content)
    with pytest.raises(UsageError, match=r"is no answer|holds no prediction id"):
        send_feedback(Session(Options()), str(saved), ["low"], row=0, as_values=False, file=None)


def test_the_labels_of_a_file_stand_on_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("low\r\n\r\n hoch ü\n".encode())
    assert labels_in(file) == ["low", "-", "hoch ü"]
    file.write_bytes(b"\xef\xbb\xbflow\n")
    assert labels_in(file) == ["low"]
