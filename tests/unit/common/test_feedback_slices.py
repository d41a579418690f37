"""The slices that labels are counted in: which are kept, in which lane and epoch."""

from services.common.feedback import Status
from services.common.kept_slices import MOST_SLICES, ROOM
from services.common.telemetry import catalog
from tests.unit.common.desk import Desk, late


def test_the_latest_slices_are_kept() -> None:
    desk = Desk()
    for number in range(MOST_SLICES + 4):
        assert desk.book.label(desk.token(slice=number), 0, "churn").status is Status.ACCEPTED
    latest = {f"3.{number}" for number in range(4, MOST_SLICES + 4)}
    assert {attributes[4] for attributes in desk.counts()} == latest
    # Products of labels that nobody counts any more would make those that are counted seem alike.
    products = {one.attributes[4] for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_ALIKE}
    assert products == latest
    assert late(desk) == {}
    assert desk.book.label(desk.token(slice=2), 0, "churn").status is Status.TOO_LATE
    assert desk.book.value(desk.token(slice=2, traffic=2), 0, 1.0).status is Status.TOO_LATE
    assert late(desk) == {("churn", "v1", "live", ""): 1, ("churn", "v1", "control", ""): 1}
    assert desk.book.label(desk.token(epoch=4, slice=0), 0, "churn").status is Status.ACCEPTED


def test_where_the_epoch_of_a_lane_falls_labels_are_counted_on() -> None:
    desk = Desk()
    desk.book.follow({("churn", ""): 20, ("churn", "eu"): 20})
    for number in range(MOST_SLICES + 4):
        for segment in ("", "eu"):
            assert desk.book.label(desk.token(epoch=20, slice=number, segment=segment), 0, "churn").status == "accepted"
    old = desk.token(epoch=20, slice=MOST_SLICES)
    desk.clock.advance(1.0)
    # The Registry's database was put back to when the epoch of one lane was 12.
    desk.book.follow({("churn", ""): 12, ("churn", "eu"): 20})
    desk.clock.advance(1.0)
    for number in range(MOST_SLICES, MOST_SLICES + 20):
        assert desk.book.label(desk.token(epoch=12, slice=number), 0, "churn").status is Status.ACCEPTED
    assert desk.book.label(old, 0, "churn").status is Status.TOO_LATE
    counted = {attributes[4] for attributes in desk.counts() if attributes[3] == ""}
    assert counted == {f"12.{number}" for number in range(MOST_SLICES, MOST_SLICES + 20)}
    assert len(desk.counts()) == MOST_SLICES + 20


def test_labels_of_epochs_that_never_were_push_out_none_of_todays() -> None:
    """A process that had no labels before the database was put back, or started since, knows the lane's epoch alone."""
    desk = Desk()
    desk.book.follow({("churn", ""): 12})
    for number in range(MOST_SLICES + 4):
        assert desk.book.label(desk.token(epoch=20, slice=number), 0, "churn").status is Status.TOO_LATE
    assert desk.book.label(desk.token(epoch=12, slice=9), 0, "churn").status is Status.ACCEPTED
    # Another process's routes may be newer than this one's.
    assert desk.book.label(desk.token(epoch=14, slice=9), 0, "churn").status is Status.ACCEPTED


def test_a_lanes_series_have_a_bound() -> None:
    desk = Desk()
    for number in range(600):
        token = desk.token(slice=number)
        desk.book.label(token, 0, "churn")
        desk.book.value(token, 0, 1.0)
    values = [one for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_VALUE]
    # A label takes the room of two series, and a histogram of numbers that of four.
    assert abs(len(values) - ROOM // 6) <= 1


def test_labels_of_a_worker_whose_clock_is_ahead_leave_others_in_place() -> None:
    desk, seconds = Desk(), 5.0

    def label(moment: float) -> Status:
        token = desk.token(slice=int(moment / seconds), time_ms=int(moment * 1000))
        return desk.book.label(token, 0, "churn").status

    for _ in range(500):
        now = desk.clock.now()
        assert {label(now + 1_200.0), label(now), label(now - 120.0)} == {Status.ACCEPTED}
        desk.clock.advance(seconds)


def test_cohorts_go_with_their_slice() -> None:
    desk = Desk()
    for number in range(400):
        desk.book.label(desk.token(cohort=7, slice=number), 0, "churn")
    kept = {one.attributes[4] for one in desk.store.snapshot() if one.metric is catalog.COHORT_FEEDBACK}
    assert "3.0" not in kept
    assert kept == {attributes[4] for attributes in desk.counts()}


def test_lanes_that_are_gone_are_forgotten_after_a_while() -> None:
    """A stable version may stay for months while segments come and go, and what they counted was kept with it."""
    desk = Desk()
    rest = {("churn", ""): 3}
    for number in range(20):
        segment = f"s{number}"
        desk.book.follow({**rest, ("churn", segment): 3})
        assert desk.book.label(desk.token(segment=segment), 0, "churn").status is Status.ACCEPTED
        assert desk.book.label(desk.token(segment=segment, version="v0"), 0, "churn").status is Status.TOO_LATE
        desk.book.follow(rest)
        # It was predicted while the lane was there.
        assert desk.book.label(desk.token(segment=segment), 0, "churn").status is Status.ACCEPTED
        desk.clock.advance(100.0)
    assert desk.book.label(desk.token(), 0, "churn").status is Status.ACCEPTED
    desk.book.follow(rest)
    kept = {f"s{number}" for number in range(12, 20)}
    metrics = (catalog.FEEDBACK_COUNT, catalog.FEEDBACK_ALIKE, catalog.FEEDBACK_LATE_COUNT)
    told = {metric: {one.attributes[3] for one in desk.store.snapshot() if one.metric is metric} for metric in metrics}
    assert told == {metrics[0]: {"", *kept}, metrics[1]: {"", *kept}, metrics[2]: kept}
    # One that comes back is counted from nothing.
    desk.book.follow({**rest, ("churn", "s0"): 4})
    assert desk.book.label(desk.token(segment="s0", epoch=4), 0, "churn").status is Status.ACCEPTED
    assert {key[3]: count for key, count in desk.counts().items()}["s0"] == 1
