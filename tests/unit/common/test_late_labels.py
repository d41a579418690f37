"""Labels that come too late, and those that still count."""

from services.common.feedback import Status
from services.common.kept_slices import MOST_SLICES
from services.common.telemetry import catalog
from tests.unit.common.desk import CLASSES, Desk, late


def test_a_version_that_is_gone_takes_no_labels_and_no_numbers() -> None:
    desk = Desk()
    assert desk.book.label(desk.token(version="v0"), 0, "churn").status is Status.TOO_LATE
    assert desk.book.value(desk.token(version="v0", numbers=(1.0, 2.0)), 0, 1.5).status is Status.TOO_LATE
    assert late(desk) == {("churn", "v0", "live", ""): 2}
    assert {one.metric for one in desk.store.snapshot()} == {catalog.FEEDBACK_LATE_COUNT}


def test_what_was_counted_in_time_is_not_late_when_it_comes_again() -> None:
    desk = Desk()
    first = desk.token(slice=0)
    assert desk.book.label(first, 0, "churn").status is Status.ACCEPTED
    for number in range(1, MOST_SLICES + 1):
        desk.book.label(desk.token(slice=number), 0, "churn")
    assert desk.book.label(first, 0, "churn").status is Status.DUPLICATE
    assert late(desk) == {}


def past_all_slices(desk: Desk) -> None:
    """Labels of so many later slices that the first is gone."""
    for number in range(1, MOST_SLICES + 1):
        desk.book.label(desk.token(slice=number), 0, "churn")


def repeats(desk: Desk) -> int:
    """Labels that came again."""
    return sum(one.counts[0] for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_DUPLICATE_COUNT)


def test_a_late_label_counts_once_however_often_it_comes() -> None:
    desk = Desk()
    old, gone = desk.token(slice=0), desk.token(version="v0")
    past_all_slices(desk)
    # Of each row one label and one number.
    for _ in range(1_000):
        for row in range(2):
            for token in (old, gone):
                assert desk.book.label(token, row, "keep").status is Status.TOO_LATE
                assert desk.book.value(token, row, 1.0).status is Status.TOO_LATE
    assert late(desk) == {("churn", "v1", "live", ""): 4, ("churn", "v0", "live", ""): 4}
    assert repeats(desk) == 8 * 999


def test_more_late_predictions_than_are_remembered_count_once_too() -> None:
    desk = Desk(late=10)
    past_all_slices(desk)
    tokens = [desk.token(slice=0, time_ms=1_000 + number) for number in range(25)]
    for _ in range(3):
        for token in tokens:
            assert desk.book.label(token, 0, "churn").status is Status.TOO_LATE
    assert late(desk) == {("churn", "v1", "live", ""): 25}
    # Another arm's are counted as before, and what is newer than all that was forgotten.
    for changes in ({"version": "v2"}, {"segment": "eu", "version": "v0"}, {"time_ms": 2_000}):
        desk.book.label(desk.token(**({"slice": 0, "time_ms": 1_000} | changes)), 0, "churn")
    assert sum(late(desk).values()) == 28


def test_late_labels_push_out_none_that_were_counted() -> None:
    desk = Desk(remembered=MOST_SLICES + 10)
    first = desk.token()
    desk.book.label(first, 0, "churn")
    past_all_slices(desk)
    for _ in range(2_000):
        desk.book.label(desk.token(slice=0), 0, "churn")
    assert desk.book.label(first, 0, "churn").status is Status.DUPLICATE


def test_what_was_counted_of_a_version_that_is_gone_by_now_is_not_late() -> None:
    desk = Desk()
    token = desk.token(version="v2")
    assert desk.book.label(token, 0, "churn").status is Status.ACCEPTED
    classes = CLASSES.pop(("churn", "v2"))
    try:
        assert desk.book.label(token, 0, "churn").status is Status.DUPLICATE
        assert desk.book.label(token, 1, "churn").status is Status.TOO_LATE
    finally:
        CLASSES["churn", "v2"] = classes
    assert late(desk) == {("churn", "v2", "live", ""): 1}


def test_wrong_answers_may_be_labelled_hours_later_than_right_ones() -> None:
    desk, seconds = Desk(), 300.0
    waiting: list[str] = []
    for _ in range(300):
        here = int(desk.clock.now() / seconds)
        assert desk.book.label(desk.token(slice=here, classes=(1,)), 0, "churn").status is Status.ACCEPTED
        assert desk.book.label(desk.token(slice=here, classes=(0,)), 0, "keep").status is Status.ACCEPTED
        waiting.append(desk.token(slice=here, classes=(1,)))
        # Sixteen hours.
        if len(waiting) > 192:
            assert desk.book.label(waiting.pop(0), 0, "keep").status is Status.ACCEPTED
        desk.clock.advance(seconds)
    assert late(desk) == {}
