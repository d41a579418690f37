"""Numbers that callers report, and errors of a regression, in a lane without a rollout."""

from evaluator.monitor import report
from evaluator.verdict.reports import GateReport, Verdict
from services.common.policy.metrics import MetricKind
from tests.fakes.metrics import Behaviour
from tests.unit.evaluator.monitored import LEARN, Lane, learnt, regression_lane


def regression() -> Lane:
    """A lane whose labels are numbers, and whose past is known."""
    lane = regression_lane()
    lane.run(2 * LEARN)
    assert {one.metric for one in lane.watch.watched} == {
        MetricKind.ERRORS,
        MetricKind.RUNTIME,
        MetricKind.ABSOLUTE_ERROR,
    }
    return lane


def test_larger_absolute_errors_are_told_and_as_large_ones_are_not() -> None:
    lane = regression()
    lane.run(3600)
    assert lane.told == [""]
    lane.fleet.stable = Behaviour(off=1.6)
    lane.run(1200)
    assert lane.told == ["", "absolute_error"]
    (alert,) = report.alerts(lane.watch)
    assert alert.reason.startswith("v1 was off by more than 1.")
    assert "is allowed: half of its own past's were off by less than " in alert.reason
    lane.fleet.stable = Behaviour()
    lane.run(2 * 3600)
    assert lane.told == ["", "absolute_error", ""]


def value_row(lane: Lane) -> tuple[GateReport, float]:
    """What people see of the numbers that callers report, and the shift that is allowed."""
    (row,) = (one for one in report.decision(lane.watch).gates if one.gate == "value")
    assert row.limit is not None
    assert row.limit.at_most is not None
    return row, row.limit.at_most


def test_numbers_that_callers_report_are_watched_both_ways() -> None:
    for engaged in (0.1, 0.5):
        lane = learnt(reported=0.5)
        lane.kept = True
        assert lane.watch.values is not None
        lane.run(900)
        assert lane.told == [""]
        row, allowed = value_row(lane)
        assert row.verdict is Verdict.PASS
        assert row.test.estimate < allowed
        lane.fleet.stable = Behaviour(engaged=engaged)
        lane.run(900)
        assert lane.told == ["", "value"]
        row, allowed = value_row(lane)
        assert row.verdict is Verdict.FAIL
        assert row.test.estimate > allowed
        (alert,) = report.alerts(lane.watch)
        assert alert.reason.startswith("what callers report of v1 is other than before: ")
        lane.fleet.stable = Behaviour()
        lane.run(1800)
        assert lane.told == ["", "value", ""]


def test_without_numbers_nothing_is_held_against_them() -> None:
    assert learnt().watch.values is None
