"""A lane without a rollout: what stands out, and what does not."""

import json
from bisect import bisect_left
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from evaluator.evidence.ledger import Ledger
from evaluator.gates.distributions import RATIO
from evaluator.monitor import checkpoint, report
from evaluator.monitor.past import BOUNDS, MIDDLE, Known, Past
from evaluator.monitor.watch import Watch, after, open_watch
from evaluator.terms import Terms
from evaluator.verdict.reports import GateReport, Verdict
from evaluator.window.counts import Counts, InstanceCounts
from evaluator.window.labels import Labels, SliceCounts
from evaluator.window.readings import Problem
from evaluator.window.windows import take
from services.common.kept_slices import MOST_SLICES
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import PlanDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning
from tests.fakes.inputs import reference
from tests.fakes.metrics import CLASSES, Behaviour, Fleet
from tests.fakes.rollouts import demo_terms

LOOK = 30.0
LEARN = 1_200.0


def monitor_terms(positive: str = "") -> Terms:
    """v1 of the model digits, by itself."""
    policy, _ = complete_policy(PolicyDraft(), Meaning("classification", CLASSES, positive))
    plan, _ = complete_plan(PlanDraft())
    profile = reference("p1", 2)
    return Terms("digits", "", "v1", "", policy, plan, test_profile=profile, declared=CLASSES)


TERMS = monitor_terms()


@dataclass
class Lane:
    """A lane under traffic, looked at every half minute."""

    seed: int = 1
    terms: Terms = field(default_factory=monitor_terms)
    fleet: Fleet = field(init=False)
    watch: Watch = field(init=False)
    cursor: Counts = ()
    told: list[str] = field(default_factory=list)
    kept: bool = False

    def __post_init__(self) -> None:
        self.fleet = Fleet(demo_terms(), np.random.default_rng(self.seed), rate=40.0, lag=5.0)
        self.watch = open_watch(self.terms, LEARN)
        self._take(first=True)

    def _take(self, *, first: bool) -> Counts:
        readings = [one.read(self.fleet.now, self.terms) for one in self.fleet.instances]
        taken = take(self.cursor, readings, first=first)
        self.cursor = taken.cursor
        return taken.window

    def run(self, seconds: float) -> None:
        """Lets traffic flow and looks at it; notes each change of what stands out."""
        for _ in range(round(seconds / LOOK)):
            self.fleet.run(LOOK)
            window = self._take(first=False)
            self.watch = after(self.watch, window, self.fleet.epoch, self.fleet.slice_seconds)
            if self.kept:
                self.watch = checkpoint.load(checkpoint.dump(self.watch), self.terms, LEARN)
            assert report.decision(self.watch).reason
            standing = sorted(alert.gate for alert in report.alerts(self.watch))
            if not self.told or self.told[-1] != ",".join(standing):
                self.told.append(",".join(standing))


def learnt(seed: int = 1, **changes: object) -> Lane:
    """A lane whose past is known."""
    lane = Lane(seed)
    for name, value in changes.items():
        setattr(lane.fleet, name, value)
    lane.run(2 * LEARN)
    assert lane.told == [""]
    assert {one.metric for one in lane.watch.watched} == {
        MetricKind.ERRORS,
        MetricKind.RUNTIME,
        MetricKind.ACCURACY,
    }
    assert lane.watch.outputs is not None
    return lane


@pytest.mark.parametrize("seed", range(3))
def test_nothing_stands_out_while_nothing_changes(seed: int) -> None:
    lane = learnt(seed)
    for rate in (10.0, 80.0, 40.0):
        lane.fleet.rate = rate
        lane.run(3600)
    assert lane.told == [""]
    assert all(one.verdict is Verdict.PASS for one in report.decision(lane.watch).gates)


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


def test_it_goes_on_from_what_was_kept_to_the_last_bit() -> None:
    lanes = Lane(3), Lane(3, kept=True)
    for lane in lanes:
        lane.run(2 * LEARN)
        lane.fleet.stable = Behaviour(errors=0.01, wrong=0.12)
        lane.fleet.shift = 0.2
        lane.run(3600)
    assert checkpoint.dump(lanes[0].watch) == checkpoint.dump(lanes[1].watch)
    assert lanes[0].told == lanes[1].told
    assert len(lanes[0].told) > 1


def test_evidence_of_other_statistics_begins_anew_and_the_past_stays() -> None:
    lane = learnt()
    lane.fleet.stable = Behaviour(errors=0.05)
    lane.run(300)
    kept = json.loads(checkpoint.dump(lane.watch)) | {"statistics": 0}
    watch = checkpoint.load(json.dumps(kept).encode(), lane.terms, LEARN)
    assert report.alerts(watch) == ()
    assert watch.past == lane.watch.past
    assert [one.past for one in watch.watched] == [one.past for one in lane.watch.watched]
    assert all(one.harm.max_log_e == 0.0 for one in watch.watched)


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b'{"format":99}', b'{"format":1,"past":7}'])
def test_what_is_no_evidence_of_this_form_is_begun_anew(payload: bytes) -> None:
    assert checkpoint.load(payload, monitor_terms(), LEARN).since == 0.0


def test_slices_for_which_nothing_comes_any_more_are_let_go() -> None:
    lane = learnt()
    lane.fleet.rate, lane.fleet.slice_seconds = 1.0, 30.0
    lane.run(5 * 3600)
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


def regression(seed: int = 1) -> Lane:
    """A lane whose labels are numbers, and whose past is known."""
    policy, _ = complete_policy(PolicyDraft(), Meaning("regression"))
    plan, _ = complete_plan(PlanDraft())
    lane = Lane(seed, Terms("digits", "", "v1", "", policy, plan), kept=True)
    lane.fleet.regression = True
    lane.run(2 * LEARN)
    assert {one.metric for one in lane.watch.watched} == {
        MetricKind.ERRORS,
        MetricKind.RUNTIME,
        MetricKind.ABSOLUTE_ERROR,
    }
    return lane


def test_larger_absolute_errors_are_told_and_as_large_ones_are_not() -> None:
    lane = regression()
    lane.run(2 * 3600)
    assert lane.told == [""]
    lane.fleet.stable = Behaviour(off=1.6)
    lane.run(3600)
    assert lane.told == ["", "absolute_error"]
    (alert,) = report.alerts(lane.watch)
    assert alert.reason.startswith("v1 was off by more than 1.")
    assert "is allowed: half of its own past's were off by less than " in alert.reason
    lane.fleet.stable = Behaviour()
    lane.run(3 * 3600)
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
        lane.run(3600)
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
        lane.run(3 * 3600)
        assert lane.told == ["", "value", ""]


def test_without_numbers_nothing_is_held_against_them() -> None:
    assert learnt().watch.values is None


def test_a_checkpoint_of_an_older_release_is_taken_over() -> None:
    lane = learnt()
    said = json.loads(checkpoint.dump(lane.watch))
    del said["values"], said["alike"], said["inputs"]["alike"], said["outputs"]["alike"]
    del said["past"]["values"]
    loaded = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert loaded.past == lane.watch.past
    assert loaded.values is None
    assert len(loaded.watched) == len(lane.watch.watched)
    assert loaded.inputs is not None
    assert loaded.inputs.alike.effects is None


def test_the_past_is_taken_over_from_a_release_that_watches_more() -> None:
    lane = learnt()
    said = json.loads(checkpoint.dump(lane.watch))
    said["statistics"] += 1
    said["watched"].append(said["watched"][0] | {"metric": "calibration"})
    said["past"]["calibration"] = [1, 2]
    loaded = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert loaded.past == lane.watch.past
    assert [one.metric for one in loaded.watched] == [one.metric for one in lane.watch.watched]


def test_a_past_of_all_batch_sizes_in_one_is_learnt_anew() -> None:
    """Releases before this one kept it so."""
    lane = learnt()
    said = json.loads(checkpoint.dump(lane.watch))
    del said["past"]["sizes"]
    said["past"]["batches"] = [0] * 60 + [9_000] + [0] * (len(MIDDLE) - 61)
    said["watched"] = [{name: of[name] for name in of if name != "size"} for of in said["watched"]]
    lane.watch = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert [one.metric for one in lane.watch.watched] == [MetricKind.ERRORS, MetricKind.ACCURACY]
    assert not lane.watch.past.batches
    lane.run(LEARN / 2)
    assert "runtime is not watched yet: its past " in report.decision(lane.watch).reason
    lane.run(LEARN)
    assert MetricKind.RUNTIME in {one.metric for one in lane.watch.watched}
    assert lane.told == [""]


@pytest.mark.parametrize("part", ["batches", "values", "lags"])
def test_counts_by_another_releases_buckets_are_begun_anew(part: str) -> None:
    lane = Lane()
    lane.run(LEARN / 2)
    said = json.loads(checkpoint.dump(lane.watch))
    if part == "values":
        said["past"]["values"] = [[100_000, 1]]
    elif part == "batches":
        said["past"]["sizes"][0][2] = [[100_000, 1]]
    else:
        said["lags"] = [[*lags, 1] for lags in said["lags"]]
    lane.watch = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert lane.watch.since == 0.0
    lane.run(LEARN)
