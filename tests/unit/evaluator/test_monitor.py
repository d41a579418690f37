"""A lane without a rollout: what stands out, and what does not."""

import pytest

from evaluator.monitor import report
from evaluator.verdict.reports import Verdict
from services.common.policy.metrics import MetricKind
from tests.fakes.metrics import Behaviour
from tests.unit.evaluator.monitored import LEARN, LOOK, Lane, learnt, monitor_terms


@pytest.mark.parametrize("seed", range(3))
def test_nothing_stands_out_while_nothing_changes(seed: int) -> None:
    lane = learnt(seed)
    for rate in (10.0, 80.0, 40.0):
        lane.fleet.rate = rate
        lane.run(3600)
    assert lane.told == [""]
    assert all(one.verdict is Verdict.PASS for one in report.decision(lane.watch).gates)


def test_failures_are_told_and_so_is_their_end() -> None:
    lane = learnt()
    lane.fleet.stable = Behaviour(errors=0.05)
    lane.run(300)
    assert lane.told == ["", "errors"]
    (alert,) = report.alerts(lane.watch)
    assert alert.reason.startswith("v1 failed ")
    assert "is allowed by its own past of 0." in alert.reason
    lane.fleet.stable = Behaviour()
    lane.run(3600)
    assert lane.told == ["", "errors", ""]
    lane.fleet.stable = Behaviour(errors=0.05)
    lane.run(300)
    assert lane.told == ["", "errors", "", "errors"]


def test_slower_batches_are_told() -> None:
    lane = learnt()
    lane.fleet.stable = Behaviour(seconds=0.004)
    lane.run(600)
    assert lane.told == ["", "runtime"]
    (alert,) = report.alerts(lane.watch)
    assert alert.reason.startswith("v1's batches of ")
    assert report.decision(lane.watch).reason == alert.reason


def test_half_as_slow_again_is_within_a_days_load() -> None:
    lane = learnt()
    lane.fleet.stable = Behaviour(seconds=0.0026)
    lane.run(3600)
    assert lane.told == [""]


def test_larger_batches_are_not_slower_ones_and_their_own_past_is_learnt_first() -> None:
    lane = learnt(batch=1, stable=Behaviour(seconds=0.001, row_seconds=0.00025))
    lane.fleet.batch = 8
    lane.run(LEARN + 2 * LOOK)
    assert lane.told == [""]
    assert [one.size for one in lane.watch.watched if one.metric is MetricKind.RUNTIME] == [1, 8]
    lane.fleet.stable = Behaviour(seconds=0.002, row_seconds=0.0005)
    lane.run(10 * LOOK)
    assert lane.told == ["", "runtime"]
    (alert,) = report.alerts(lane.watch)
    assert alert.reason.startswith("v1's batches of up to 8 rows took a mean of ")


def test_an_alert_tells_of_the_looks_that_brought_it() -> None:
    """Not of those before, whose mean would be within what is allowed."""
    lane = learnt(batch=1)
    lane.fleet.stable = Behaviour(seconds=0.0045)
    while lane.told == [""]:
        lane.run(LOOK)
    (one,) = (one for one in lane.watch.watched if one.alert)
    assert 3 <= len(one.recent) < 10
    assert one.seen[1] > one.past.limit


def test_wrong_answers_are_told_when_their_labels_are_complete() -> None:
    lane = learnt()
    lane.fleet.stable = Behaviour(wrong=0.2)
    lane.run(3600)
    assert "accuracy" in lane.told[-1].split(",")


def test_wrong_answers_whose_labels_come_first_are_no_harm() -> None:
    lane = learnt(negative_lag=0.0, wrong_lag=-3.0, lag=60.0)
    lane.run(3600)
    assert lane.told == [""]


def test_f1_is_watched_where_there_is_a_positive_class() -> None:
    lane = Lane(terms=monitor_terms("3"))
    lane.fleet.positives = 0.3
    lane.run(3 * LEARN)
    lane.fleet.stable = Behaviour(missed=0.3)
    lane.run(2 * 3600)
    assert "f1" in lane.told[-1].split(",")
    alert = next(alert for alert in report.alerts(lane.watch) if alert.gate == "f1")
    assert alert.reason.startswith("v1's F1 was 0.")


def test_drifted_inputs_are_told_from_the_first_look_on_and_so_is_their_end() -> None:
    lane = Lane()
    lane.fleet.shift = 0.5
    lane.run(600)
    assert lane.told == ["", "inputs"]
    lane.fleet.shift = 0.0
    lane.run(3600)
    assert lane.told == ["", "inputs", ""]


def test_one_look_of_other_inputs_and_classes_is_no_alert() -> None:
    lane = learnt(positives=0.3)
    lane.fleet.positives, lane.fleet.shift, lane.fleet.rate = 0.9, 0.5, 4_000.0
    lane.run(LOOK)
    lane.fleet.positives, lane.fleet.shift, lane.fleet.rate = 0.3, 0.0, 40.0
    lane.run(600)
    assert lane.told == [""]


def test_while_inputs_are_drifted_what_the_answers_say_rests() -> None:
    lane = learnt(positives=0.3)
    lane.fleet.shift = 0.5
    lane.run(600)
    assert lane.told == ["", "inputs"]
    lane.fleet.positives, lane.fleet.stable = 0.9, Behaviour(wrong=0.5)
    lane.run(3600)
    assert lane.told == ["", "inputs"]
    lane.fleet.stable = Behaviour(errors=0.1)
    lane.run(600)
    assert lane.told[-1] == "errors,inputs"


def test_labels_that_come_hours_late_are_watched() -> None:
    lane = Lane()
    lane.fleet.rate, lane.fleet.lag = 4.0, 7_200.0
    lane.run(10 * 3_600.0)
    assert MetricKind.ACCURACY in {one.metric for one in lane.watch.watched}


def test_classes_that_are_answered_more_often_are_told() -> None:
    lane = learnt(positives=0.3)
    lane.fleet.positives = 0.6
    lane.run(600)
    assert "outputs" in lane.told[-1].split(",")
