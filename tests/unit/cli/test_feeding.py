"""What `crossfade feedback` says became of labels and numbers."""

import pytest

from crossfade.cli.actions.feeding import describe
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
