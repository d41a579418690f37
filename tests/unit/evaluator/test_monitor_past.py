"""The past of a lane: how it is learnt, what is kept of it, and what is said until it is known."""

from bisect import bisect_left
from dataclasses import replace

import pytest

from evaluator.evidence.ledger import Ledger
from evaluator.gates.distributions import RATIO
from evaluator.monitor import checkpoint, report
from evaluator.monitor.past import BOUNDS, MIDDLE, Known, Past
from evaluator.monitor.watch import after, open_watch
from evaluator.window.counts import Counts, InstanceCounts
from evaluator.window.labels import Labels, SliceCounts
from evaluator.window.readings import Problem
from services.common.kept_slices import MOST_SLICES
from services.common.policy.metrics import MetricKind
from tests.unit.evaluator.monitored import LEARN, Lane, learnt, monitor_terms

TERMS = monitor_terms()


def test_wrong_answers_that_are_labelled_hours_later_are_of_the_past_too() -> None:
    lane = Lane()
    lane.watch = open_watch(lane.terms, 6 * 3600.0)
    lane.fleet.rate, lane.fleet.wrong_lag, lane.fleet.labelled = 1.0, 2.5 * 3600.0, 1.0
    lane.run(5.9 * 3600.0)
    labels, ages = lane.watch.past.labels, [key[1] for key in lane.watch.ledger.aged_taken]
    # Of the 150 min before it was known how late they come, sixteen slices are the last 80.
    assert len(ages) > 16
    assert labels.wrong / labels.rows == pytest.approx(0.08, abs=0.008)


def test_a_lanes_slices_are_kept_as_long_as_routers_have_room_for_their_labels() -> None:
    def kept(test: Labels) -> int:
        counts = {(1, number): SliceCounts(9, 0, test) for number in range(800)}
        window: Counts = (InstanceCounts("worker-1", 1),)
        return len(after(replace(open_watch(TERMS, 1.0), ledger=Ledger(counts)), window, 1, 300.0).ledger.slices)

    assert [kept(one) for one in (Labels(), Labels(9, 3), Labels(9, errors=(9,)))] == [512, 512, 1024 // 6]


def test_what_was_hardly_counted_is_not_held_against_anything() -> None:
    lane = Lane()
    lane.fleet.rate, lane.fleet.labelled = 0.2, 0.0
    lane.run(2 * LEARN)
    assert not lane.watch.watched
    lane.fleet.rate = 40.0
    lane.run(600)
    assert [(one.metric, one.size) for one in lane.watch.watched] == [
        (MetricKind.ERRORS, 0),
        *((MetricKind.RUNTIME, size) for size in (1, 2, 4)),
    ]


def test_slices_for_which_nothing_comes_any_more_are_let_go() -> None:
    lane = learnt()
    lane.fleet.rate, lane.fleet.slice_seconds = 1.0, 15.0
    lane.run(2.5 * 3600)
    assert len(lane.watch.ledger.slices) == MOST_SLICES
    assert lane.watch.ledger.aged_taken.keys() <= lane.watch.ledger.slices.keys()
    assert len(checkpoint.dump(lane.watch)) < 100_000


def test_while_it_learns_it_says_so() -> None:
    lane = Lane()
    assert report.decision(lane.watch).reason == "learns what v1 is like, for 20 min more"
    lane.run(LEARN / 2)
    assert report.decision(lane.watch).reason.startswith("learns what v1 is like, for 1")
    assert report.decision(learnt().watch).reason == "nothing stands out in v1"


def test_what_is_not_watched_yet_and_was_not_read_is_told() -> None:
    lane = Lane()
    lane.fleet.rate, lane.fleet.labelled = 0.2, 0.0
    lane.run(2 * LEARN)
    away = Problem("router-1", "it did not answer", lasting=False)
    reason = report.decision(lane.watch, [away, away], 600.0).reason
    assert reason.startswith("nothing stands out in v1; errors is not watched yet: its past has ")
    assert "accuracy is not watched yet: its past has 0 of 300 rows with complete labels" in reason
    assert "what was counted in a gap of 10 min is left out" in reason
    assert reason.endswith("router-1 was not read (it did not answer), and 1 more")


def test_a_mean_is_known_to_within_its_own_error_only() -> None:
    fast, slow = bisect_left(BOUNDS, 0.005), bisect_left(BOUNDS, 1.0)

    def past(batches: int, late: int) -> Known | None:
        counts = [0] * len(MIDDLE)
        counts[fast], counts[slow] = batches - late, late
        return Past(batches={8: tuple(counts)}).known_runtime(8)

    assert past(999, 4) is None
    few, many = past(1_000, 5), past(1_000_000, 5_000)
    assert few is not None
    assert many is not None
    assert few.value == pytest.approx(many.value)
    assert many.limit == pytest.approx(many.value * RATIO**5, rel=0.05)
    assert few.limit > 1.4 * many.limit


def test_epochs_of_which_no_slice_is_kept_are_let_go() -> None:
    """Each rollout that comes to nothing leaves an epoch, and a version may stay stable for a thousand of them."""
    window: Counts = (InstanceCounts("worker-1", 1),)
    watch = replace(open_watch(TERMS, 1.0), ledger=Ledger({(7, 3): SliceCounts(9, 0, Labels())}))
    for epoch in range(1, 1_000):
        watch = after(watch, window, epoch, 300.0)
    assert watch.ledger.slices.keys() == {(7, 3)}
    assert watch.slices == {7: 300.0, 999: 300.0}
