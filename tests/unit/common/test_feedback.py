"""Labels and numbers: each counted once with what was predicted, or refused with a reason."""

import pytest

from crossfade.predict.v1 import predict_pb2
from services.common import feedback_rpc
from services.common.errors import InvalidArgumentError
from services.common.feedback import Status
from services.common.prediction_token import NO_CLASS, TokenKeys
from services.common.telemetry import catalog
from services.common.telemetry.bounds import ERROR_BOUNDS
from tests.unit.common.desk import KEYS, Desk


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


def test_above_1000_classes_labels_are_counted_by_whether_they_agree_alone() -> None:
    desk = Desk()
    token = desk.token(model="words", classes=(999, 1_000))
    assert desk.book.label(token, 0, "c999").status is Status.ACCEPTED
    assert desk.book.label(token, 1, "c999").status is Status.ACCEPTED
    arm = ("words", "v1", "live", "", "3.10", "", "")
    assert desk.counts() == {(*arm, "true"): 1, (*arm, "false"): 1}


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
    assert desk.book.label(right, 0, "churn").status is Status.ACCEPTED
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


def test_how_late_a_label_is_is_not_known_when_a_clock_was_set_back() -> None:
    desk = Desk()
    tokens = [desk.token() for _ in range(3)]
    for token, back in zip(tokens, (-3_600.0, -9.0, 9.0), strict=True):
        desk.clock.set(back)
        assert desk.book.label(token, 0, "churn").status is Status.ACCEPTED
        desk.clock.set(-back)
    (lags,) = [one for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_LAG]
    assert (sum(lags.counts), lags.total) == (2, 9.0)
    assert sum(desk.counts().values()) == 3
