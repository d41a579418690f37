"""Labels: each counted once, in its slice."""

import pytest

from crossfade.predict.v1 import predict_pb2
from services.common import feedback_rpc
from services.common.errors import InvalidArgumentError
from services.common.feedback import FeedbackBook, Status
from services.common.kept_slices import MOST_SLICES, ROOM
from services.common.prediction_token import NO_CLASS, Prediction, TokenKeys
from services.common.telemetry import catalog
from services.common.telemetry.bounds import ERROR_BOUNDS
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock

KEYS = TokenKeys({1: b"k" * 32}, signing=1)
CLASSES = {
    ("churn", "v1"): ("keep", "churn"),
    ("churn", "v2"): ("keep", "churn"),
    ("price", "v1"): (),
    ("wide", "v1"): tuple(f"c{n}" for n in range(40)),
}


class Desk:
    """A book with its store and clock."""

    def __init__(self, remembered: int = 1_000, pairs: int = 1_000, late: int = 1_000) -> None:
        self.clock = ManualClock()
        self.store = MetricStore()
        self.book = FeedbackBook(
            KEYS, self.store, self.clock, lambda model, version: CLASSES.get((model, version)), remembered, pairs, late
        )
        self._nonce = 0

    def token(self, **changes: object) -> str:
        self._nonce += 1
        base = Prediction(self._nonce, int(self.clock.now() * 1000), 3, 10, 1, "churn", "v1", "", (1, 0))
        return KEYS.sign(base._replace(**changes))  # type: ignore[arg-type]  # fields by name

    def counts(self) -> dict[tuple[str, ...], int]:
        return {
            snapshot.attributes: snapshot.counts[0]
            for snapshot in self.store.snapshot()
            if snapshot.metric is catalog.FEEDBACK_COUNT
        }


def test_a_label_is_counted_with_what_was_predicted() -> None:
    desk = Desk()
    token = desk.token()
    assert desk.book.label(token, 0, "churn").status is Status.ACCEPTED
    assert desk.book.label(token, 1, "churn").status is Status.ACCEPTED
    assert desk.counts() == {
        ("churn", "v1", "live", "", "3.10", "churn", "churn", "true"): 1,
        ("churn", "v1", "live", "", "3.10", "keep", "churn", "false"): 1,
    }


def test_above_32_classes_the_predicted_class_is_left_out() -> None:
    desk = Desk()
    desk.book.label(desk.token(model="wide"), 0, "c7")
    assert desk.counts() == {("wide", "v1", "live", "", "3.10", "", "c7", "false"): 1}


def test_a_label_sent_twice_counts_once() -> None:
    desk = Desk()
    token = desk.token()
    desk.book.label(token, 0, "churn")
    assert desk.book.label(token, 0, "keep").status is Status.DUPLICATE
    assert sum(desk.counts().values()) == 1
    duplicates = [one for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_DUPLICATE_COUNT]
    assert [one.counts for one in duplicates] == [(1,)]


def test_forged_tokens_unknown_classes_and_rows_are_refused_with_a_reason() -> None:
    desk = Desk()
    token = desk.token()
    foreign = TokenKeys({1: b"x" * 32}, signing=1).sign(KEYS.verify(token))
    refusals = [
        desk.book.label(foreign, 0, "churn"),
        desk.book.label("not a token", 0, "churn"),
        desk.book.label(token, 2, "churn"),
        desk.book.label(token, -1, "churn"),
        desk.book.label(token, 0, "chrun"),
        desk.book.label(desk.token(classes=(NO_CLASS,)), 0, "churn"),
        desk.book.value(token, 0, float("nan")),
    ]
    assert all(result.status is Status.REFUSED and result.reason for result in refusals)
    assert desk.counts() == {}


def test_a_refusal_quotes_the_beginning_of_a_label() -> None:
    desk = Desk()
    for model in ("churn", "price"):
        result = desk.book.label(desk.token(model=model), 0, "\x01" * 1_000_000)
        assert result.status is Status.REFUSED
        assert len(result.reason) < 500


def test_a_label_has_a_bound() -> None:
    request = predict_pb2.FeedbackRequest()
    request.observations.add(label="ä" * 1_000)
    feedback_rpc.check(request)
    request.observations.add(label="ä" * 1_001)
    with pytest.raises(InvalidArgumentError) as refused:
        feedback_rpc.check(request)
    assert (refused.value.reason, refused.value.field) == ("FIELD_INVALID", "observations[1].label")


def test_a_refused_label_may_come_again_right() -> None:
    desk = Desk()
    token = desk.token()
    desk.book.label(token, 0, "chrun")
    assert desk.book.label(token, 0, "churn").status is Status.ACCEPTED


def test_a_version_that_is_gone_takes_no_labels_and_no_numbers() -> None:
    desk = Desk()
    assert desk.book.label(desk.token(version="v0"), 0, "churn").status is Status.TOO_LATE
    assert desk.book.value(desk.token(version="v0", numbers=(1.0, 2.0)), 0, 1.5).status is Status.TOO_LATE
    assert late(desk) == {("churn", "v0", "live", ""): 2}
    assert {one.metric for one in desk.store.snapshot()} == {catalog.FEEDBACK_LATE_COUNT}


def late(desk: Desk) -> dict[tuple[str, ...], int]:
    """Labels that came too late, by arm."""
    return {one.attributes: one.counts[0] for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_LATE_COUNT}


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


def test_memory_is_bounded() -> None:
    desk = Desk(remembered=10)
    first = desk.token()
    desk.book.label(first, 0, "churn")
    for _ in range(10):
        desk.book.label(desk.token(), 0, "churn")
    assert desk.book.label(first, 0, "churn").status is Status.ACCEPTED


def test_a_value_goes_into_its_histogram_and_the_lag_is_measured() -> None:
    desk = Desk()
    token = desk.token()
    desk.clock.advance(30.0)
    assert desk.book.value(token, 0, -2.5).status is Status.ACCEPTED
    by_metric = {one.metric: one for one in desk.store.snapshot()}
    assert by_metric[catalog.FEEDBACK_VALUE].total == -2.5
    assert by_metric[catalog.FEEDBACK_LAG].total == 30.0


@pytest.mark.parametrize("numbers", [(), (2.0, 2.0, 2.0)], ids=["numbers", "errors"])
def test_no_number_of_a_caller_makes_a_sum_infinite(numbers: tuple[float, ...]) -> None:
    desk = Desk()
    token = desk.token(classes=(NO_CLASS,) * 3, numbers=numbers)
    for row in range(3):
        assert desk.book.value(token, row, -1e308 if row else 1e308).status is Status.ACCEPTED
    metric = catalog.FEEDBACK_ERROR if numbers else catalog.FEEDBACK_VALUE
    (seen,) = (one for one in desk.store.snapshot() if one.metric is metric)
    assert (sum(seen.counts), seen.counts[-1]) == (3, 3 if numbers else 1)
    assert abs(seen.total) <= 3 * 2 * metric.bounds[-1]


def test_of_a_regression_it_counts_how_far_the_row_was_off() -> None:
    desk = Desk()
    token = desk.token(classes=(NO_CLASS,) * 3, numbers=(10.0, float("nan"), 2.0))
    assert desk.book.value(token, 0, 12.5).status is Status.ACCEPTED
    assert desk.book.value(token, 0, 12.5).status is Status.DUPLICATE
    assert desk.book.value(token, 1, 1.0).status is Status.ACCEPTED
    assert desk.book.value(token, 2, float("nan")).status is Status.REFUSED
    (errors,) = (one for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_ERROR)
    assert errors.attributes == ("churn", "v1", "live", "", "3.10")
    places = [place for place, count in enumerate(errors.counts) if count]
    # What was predicted as no number is off by as much as can be told.
    assert places[-1] == len(ERROR_BOUNDS)
    assert ERROR_BOUNDS[places[0] - 1] < 2.5 <= ERROR_BOUNDS[places[0]]


def test_a_regression_takes_numbers_and_says_so() -> None:
    desk = Desk()
    token = desk.token(model="price", classes=(NO_CLASS,), numbers=(10.0,))
    refused = desk.book.label(token, 0, "12.5")
    assert refused.status is Status.REFUSED
    assert refused.reason == "price v1 has no classes: report a number for row 0, not '12.5'"
    assert desk.book.value(token, 0, 12.5).status is Status.ACCEPTED


def test_a_row_takes_a_label_and_a_number() -> None:
    desk = Desk()
    token = desk.token()
    assert desk.book.label(token, 1, "keep").status is Status.ACCEPTED
    assert desk.book.value(token, 1, 3.0).status is Status.ACCEPTED
    assert desk.book.value(token, 1, 3.0).status is Status.DUPLICATE


def test_the_lag_of_wrong_answers_and_of_each_class_is_counted_apart() -> None:
    desk = Desk()
    right, wrong = desk.token(), desk.token()
    classes = desk.book.label(right, 0, "churn"), None
    assert classes[0].status is Status.ACCEPTED
    desk.clock.advance(600.0)
    assert desk.book.label(wrong, 0, "keep").status is Status.ACCEPTED
    for metric, apart in ((catalog.FEEDBACK_LAG, ["false", "true"]), (catalog.FEEDBACK_CLASS_LAG, ["churn", "keep"])):
        lags = {one.attributes[3]: one.total for one in desk.store.snapshot() if one.metric is metric}
        assert sorted(lags) == apart
        assert max(lags.values()) == 600.0


def test_under_key_assignment_labels_and_numbers_count_by_cohort_too() -> None:
    desk = Desk()
    keyed = desk.token(cohort=7)
    desk.book.label(keyed, 0, "churn")
    desk.book.label(keyed, 1, "churn")
    for row, value in enumerate((3.5, 0.0)):
        desk.book.value(keyed, row, value)
    desk.book.label(desk.token(), 0, "churn")
    found = {
        one.attributes[3:]: (sum(one.counts), one.counts[7])
        for one in desk.store.snapshot()
        if one.metric is catalog.COHORT_FEEDBACK
    }
    assert found == {
        ("", "3.10", "label", "true"): (1, 1),
        ("", "3.10", "label", "false"): (1, 1),
        ("", "3.10", "value", "true"): (1, 1),
        ("", "3.10", "value", "false"): (1, 1),
    }


def test_labels_of_callers_that_a_gate_watches_are_counted_apart_too() -> None:
    desk = Desk()
    watched = desk.token(caller="eu")
    desk.book.label(watched, 0, "churn")
    desk.book.label(watched, 1, "churn")
    desk.book.label(desk.token(), 0, "churn")
    found = {
        one.attributes[3:]: one.counts[0]
        for one in desk.store.snapshot()
        if one.metric is catalog.CALLER_FEEDBACK_COUNT
    }
    assert found == {("", "3.10", "eu", "true"): 1, ("", "3.10", "eu", "false"): 1}
    assert sum(desk.counts().values()) == 3


def test_cohorts_go_with_their_slice() -> None:
    desk = Desk()
    for number in range(400):
        desk.book.label(desk.token(cohort=7, slice=number), 0, "churn")
    kept = {one.attributes[4] for one in desk.store.snapshot() if one.metric is catalog.COHORT_FEEDBACK}
    assert "3.0" not in kept
    assert kept == {attributes[4] for attributes in desk.counts()}


def paired(desk: Desk, metric: catalog.Metric = catalog.SHADOW_LABEL_COUNT) -> dict[tuple[str, ...], int]:
    """Rows of mirrored requests by version, traffic, slice, and whether the versions agree and were right."""
    return {
        one.attributes[1:3] + one.attributes[4:]: one.counts[0] for one in desk.store.snapshot() if one.metric is metric
    }


def test_a_label_of_a_mirrored_request_says_which_version_was_right() -> None:
    desk = Desk()
    stable = desk.token(classes=(1, 0, 1))
    desk.book.pair(stable, desk.token(version="v2", traffic=3, slice=11, classes=(1, 1)))
    # Of the third row the test version has said nothing; the slice is that of the answer which gets the label.
    at = ("v2", "shadow", "3.10")
    assert paired(desk, catalog.SHADOW_NOTED_COUNT) == {(*at, "yes"): 1, (*at, "no"): 1}
    for row, actual in enumerate(("churn", "keep", "churn")):
        desk.book.label(stable, row, actual)
    assert paired(desk) == {(*at, "yes", "right", "right"): 1, (*at, "no", "right", "wrong"): 1}


def test_only_so_many_pairs_are_remembered_and_no_forged_ones() -> None:
    desk = Desk(pairs=2)
    tokens = [desk.token() for _ in range(3)]
    for token in tokens:
        desk.book.pair(token, desk.token(version="v2", traffic=3))
    assert desk.book.awaited == 2
    foreign = TokenKeys({1: b"x" * 32}, signing=1).sign(KEYS.verify(desk.token(version="v2")))
    desk.book.pair(desk.token(), foreign)
    desk.book.pair("no token", tokens[0])
    for token in tokens:
        desk.book.label(token, 0, "churn")
    assert sum(paired(desk).values()) == 2
    unknown = desk.token()
    desk.book.pair(unknown, desk.token(version="v9", traffic=3))
    assert desk.book.label(unknown, 0, "churn").status is Status.ACCEPTED
    assert sum(paired(desk).values()) == 2


def test_what_has_all_of_its_labels_is_awaited_no_more_and_a_pair_noted_twice_counts_once() -> None:
    desk = Desk()
    stable, test = desk.token(), desk.token(version="v2", traffic=3)
    desk.book.pair(stable, test)
    desk.book.pair(stable, test)
    assert sum(paired(desk, catalog.SHADOW_NOTED_COUNT).values()) == 2
    desk.book.label(stable, 0, "churn")
    assert desk.book.awaited == 1
    desk.book.label(stable, 1, "churn")
    assert desk.book.awaited == 0


def alike(desk: Desk) -> dict[str, int]:
    """Sums over requests of products of their labelled rows and wrong ones."""
    (found,) = [one for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_ALIKE]
    return dict(zip(found.labels, found.counts, strict=True))


def test_products_of_a_requests_rows_are_what_their_labels_come_to_in_whatever_order() -> None:
    desk = Desk()
    first, second = desk.token(classes=(1, 1, 1)), desk.token(classes=(1,))
    for token, row, actual in ((first, 2, "keep"), (second, 0, "keep"), (first, 0, "churn"), (first, 1, "keep")):
        desk.book.label(token, row, actual)
    desk.book.label(first, 1, "churn")
    # Three rows of which two are wrong, and one row that is wrong.
    assert alike(desk) == {"rows_rows": 9 + 1, "wrong_rows": 6 + 1, "wrong_wrong": 4 + 1}
    desk.book.value(first, 0, 1.0)
    assert alike(desk)["rows_rows"] == 10
