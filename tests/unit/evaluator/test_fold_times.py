"""What a look is of: its time, its step and its split; and what a drift of the inputs takes out of it."""

import math
from dataclasses import replace

import pytest

from evaluator.evidence.fold import fold, fold_all
from evaluator.evidence.lateness import NO_LAGS, Lateness
from evaluator.evidence.state import Look, State, start
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.labels import VALUE_BUCKETS
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Plan, Step
from services.common.telemetry.bounds import LAG_BOUNDS
from tests.fakes.rollouts import DEMO_GATES, Trial, demo_plan, demo_policy, demo_terms, trial

TERMS = demo_terms(demo_policy(look_interval=10.0), features=0)


def window(seconds: float, *found: Series, name: str = "router-1") -> Counts:
    return (InstanceCounts(name, round(seconds * 1e6), found),)


def series(metric: str, *counts: int, **at: str) -> Series:
    return Series(f"crossfade.{metric}", tuple(sorted(at.items())), counts)


def by_class(metric: str, count: int, **at: str) -> Series:
    """Of rows that are all of the class 3."""
    return replace(series(metric, count, **at), labels=("3",))


def look(
    state: State, counts: Counts, *, epoch: int = 2, step: int = 0, judged: bool = True, time: float = 0.0
) -> State:
    return fold(state, Look(state.sequence + 1, epoch, 10.0, step, judged, counts, time=time))


def test_only_the_time_before_a_judged_look_is_judged_and_a_new_step_has_had_none() -> None:
    state = look(start(TERMS), window(1_000.0), judged=False)
    for seconds in (1_002.0, 1_005.0):
        state = look(state, window(seconds))
    assert (state.judged, state.step_seconds, state.judged_seconds) == (2, 5.0, 5.0)
    state = look(state, window(1_030.0), judged=False)
    assert (state.judged, state.step_seconds, state.judged_seconds) == (2, 5.0, 5.0)
    state = look(state, window(1_031.0), epoch=3, step=1)
    assert (state.judged, state.step_seconds, state.judged_seconds) == (3, 1.0, 1.0)
    # Another split in the same step begins nothing anew.
    state = look(state, window(1_033.0), epoch=4, step=1)
    assert (state.step_seconds, state.judged_seconds) == (3.0, 3.0)


def test_before_the_first_look_there_is_no_split_and_no_step() -> None:
    unseen = start(TERMS)
    assert (unseen.sequence, unseen.epoch, unseen.epoch_since, unseen.step) == (0, -1, 0.0, -1)
    assert (unseen.first_time, unseen.time, unseen.judged) == (0.0, 0.0, 0)


def test_the_first_look_of_all_has_no_time_before_it() -> None:
    state = look(start(TERMS), window(1_000.0))
    assert (state.judged, state.step_seconds, state.judged_seconds) == (1, 0.0, 0.0)


def test_a_split_is_in_force_since_a_look_first_read_counts_in_it() -> None:
    state = look(start(TERMS), ())
    assert state.epoch_since == math.inf
    state = look(state, window(1_000.0))
    assert state.epoch_since == 1_000.0
    state = look(state, window(1_002.0))
    assert state.epoch_since == 1_000.0
    state = look(state, (), epoch=3)
    assert state.epoch_since == math.inf
    assert look(state, window(1_006.0), epoch=3).epoch_since == 1_006.0


def test_the_first_look_was_when_it_read_or_where_there_was_nothing_to_read_when_it_looked() -> None:
    read = look(start(TERMS), window(1_000.0), time=1_003.0)
    assert (read.first_time, read.time) == (1_000.0, 1_000.0)
    blind = look(start(TERMS), (), time=1_003.0)
    assert (blind.first_time, blind.time) == (1_003.0, 0.0)
    # A process that was read before the others does not turn the time back.
    later = look(look(read, window(1_010.0)), window(1_005.0))
    assert (later.first_time, later.time) == (1_000.0, 1_010.0)
    assert later.judged_seconds == 10.0


def test_a_plan_that_was_cut_short_keeps_to_its_last_step() -> None:
    assert look(start(TERMS), window(1_000.0), step=7).step == 1


def test_a_step_is_known_by_each_of_its_splits() -> None:
    state = look(look(look(start(TERMS), ()), (), epoch=3), (), epoch=4, step=1)
    assert state.steps == {2: 0, 3: 0, 4: 1}
    assert [state.slice_seconds(epoch) for epoch in (1, 2, 3, 4)] == [None, 10.0, 10.0, 10.0]


def lags(correct: str, rows: int, version: str = "v1") -> Series:
    counts = (rows, *NO_LAGS[1:])
    return series("feedback.lag", *counts, version=version, traffic="live", correct=correct)


@pytest.mark.parametrize(("before", "knows"), [(19, False), (20, True)])
def test_how_late_labels_come_is_known_by_stables_wrong_answers_of_before_the_rollout(before: int, knows: bool) -> None:
    terms = demo_terms(demo_policy(min_age=None, look_interval=30.0), demo_plan(1000, period=60.0), features=0)
    others = (lags("true", 500), lags("false", 500, "v2"))
    state = look(start(terms), window(1_000.0, lags("false", before), *others), judged=False)
    assert (state.late_before, state.knows_lateness) == (before, knows)
    # Those of the rollout's own time say nothing of labels that are later still.
    state = look(state, window(1_029.0, lags("false", 500)))
    assert (state.late_before, state.knows_lateness) == (before, knows)
    assert look(state, window(1_030.0)).knows_lateness


def test_half_of_the_present_steps_period_is_time_enough_to_learn_how_late_labels_come() -> None:
    plan = Plan((Step(500, 0.0, 600.0), Step(1_000, 0.0, 60.0)))
    state = start(demo_terms(demo_policy(min_age=None, look_interval=30.0), plan, features=0))
    assert not state.knows_lateness
    judged = replace(state, judged_seconds=30.0)
    assert not replace(judged, step=0).knows_lateness
    assert replace(judged, step=1).knows_lateness
    # Whoever says how old labels must be is taken at his word, and numbers are neither right nor wrong.
    asked = start(demo_terms(demo_policy(min_age=5.0), plan, features=0))
    assert asked.knows_lateness
    numbers = replace(state, terms=replace(state.terms, declared=()))
    assert numbers.knows_lateness


def test_labels_are_as_old_as_they_have_taken_unless_an_age_was_asked_for() -> None:
    slow = Lateness({(False, False): (0,) * 10 + (100,) + (0,) * (len(NO_LAGS) - 11)})
    for min_age, age in ((None, max(60.0, LAG_BOUNDS[10])), (5.0, 5.0)):
        state = start(demo_terms(demo_policy(min_age=min_age), features=0))
        assert replace(state, lateness=slow).label_age == age


def test_labels_of_mirrored_rows_are_taken_where_a_gate_is_on_them() -> None:
    assert not start(demo_terms(demo_policy(gates=DEMO_GATES), features=0)).takes_pairs
    assert start(demo_terms(demo_policy(gates=ALL_QUALITY), features=0)).takes_pairs
    assert not start(demo_terms(features=0)).shadowed


def of_slice(version: str) -> dict[str, str]:
    return {"version": version, "traffic": "live", "segment": "", "slice": "2.101"}


def predictions(version: str, rows: int) -> Series:
    return by_class("prediction.count", rows, **of_slice(version))


def values(version: str, rows: int) -> Series:
    return series("feedback.value", *(rows, *(0,) * (VALUE_BUCKETS - 1)), **of_slice(version))


def labels(version: str, rows: int) -> Series:
    return by_class("feedback.count", rows, predicted="3", **of_slice(version))


def test_a_lane_that_is_new_to_labels_waits_for_late_ones_and_not_for_late_numbers() -> None:
    gates = (GateDraft(MetricKind.ACCURACY, required=True), GateDraft(MetricKind.VALUE, required=True))
    terms = demo_terms(
        demo_policy(gates=gates, min_age=None, look_interval=50.0), demo_plan(1000, period=3_600.0), features=0
    )
    counted = [make(*of) for make in (predictions, values, labels) for of in (("v2", 100), ("v1", 900))]
    state = look(look(start(terms), window(1_000.0)), window(1_100.0, *counted))
    assert not state.knows_lateness
    accuracy, value = state.gates
    assert (accuracy.step_n, value.step_n) == (0, 100)
    assert (state.coverage, state.value_coverage) == ((1.0, 1.0), (1.0, 1.0))


def test_labels_that_come_too_late_hold_labels_and_numbers_alike() -> None:
    gates = (GateDraft(MetricKind.ACCURACY, required=True), GateDraft(MetricKind.VALUE, required=True))
    terms = demo_terms(
        demo_policy(gates=gates, min_age=60.0, look_interval=50.0), demo_plan(1000, period=3_600.0), features=0
    )
    counted = [make(*of) for make in (predictions, values, labels) for of in (("v2", 100), ("v1", 900))]
    for late, taken in ((19, 100), (20, 0)):
        lost = series("feedback.late.count", late, version="v2", traffic="live", segment="")
        state = look(look(start(terms), window(1_000.0)), window(1_100.0, lost, *counted))
        assert state.too_late == late
        assert [gate.step_n for gate in state.gates] == [taken, taken]


def test_few_labels_that_come_too_late_are_a_fiftieth_at_most() -> None:
    state = look(start(demo_terms(demo_policy(gates=(*DEMO_GATES, GateDraft(MetricKind.VALUE))), features=0)), ())
    state = look(state, window(1_000.0, labels("v2", 900), values("v2", 600)))
    assert not replace(state, too_late=30).loses_labels
    assert replace(state, too_late=31).loses_labels


FLOOR = GateDraft(MetricKind.ACCURACY, segment="eu")
ALL_QUALITY = (*DEMO_GATES, GateDraft(MetricKind.VALUE), GateDraft(MetricKind.PAIRED_ACCURACY), FLOOR)


def drifting() -> Trial:
    policy = demo_policy(gates=ALL_QUALITY)
    made = trial(0, demo_terms(policy, demo_plan(1000, period=600.0), features=8), european=0.2, reported=0.5)
    made.run(6)
    return made


def rests(state: State) -> set[tuple[tuple[float, float], ...]]:
    return {one.rests for one in (state.ledger, state.values, state.paired, *state.floors.values())}


def test_labels_of_every_kind_rest_from_the_look_before_a_drift_was_seen_until_it_has_ended() -> None:
    made = drifting()
    assert rests(made.state) == {()}
    assert set(made.state.floors) == {"eu"}
    made.fleet.shift = 0.5
    while not made.state.resting:
        before, judged = made.state.time, made.state.judged_seconds
        made.look()
    assert rests(made.state) == {((before, math.inf),)}
    for _ in range(3):
        made.look()
    assert rests(made.state) == {((before, math.inf),)}
    made.fleet.shift = 0.0
    while made.state.resting:
        shown = [gate.step_n for gate in made.state.gates]
        made.look()
    assert rests(made.state) == {((before, made.state.time),)}
    # "No worse" is shown anew, by what this look has judged; looks by key are due by all that was judged.
    assert shown[0] > made.state.gates[0].step_n
    assert made.state.step_seconds == 2.0
    assert made.state.judged_seconds > judged


def test_while_inputs_are_drifted_no_label_is_taken_of_slices_before_it_either() -> None:
    made = drifting()
    made.fleet.shift, made.fleet.lag = 0.5, 30.0
    while not made.state.resting:
        made.look()
    taken = made.state.ledger.aged_taken
    harm = [gate.harm.log_e for gate in made.state.gates if gate.gate.metric is MetricKind.ACCURACY]
    for _ in range(5):
        made.look()
    assert made.state.resting
    assert made.state.ledger.aged_taken == taken
    assert [gate.harm.log_e for gate in made.state.gates if gate.gate.metric is MetricKind.ACCURACY] == harm


def test_all_looks_at_once_are_what_they_were_one_by_one() -> None:
    made = drifting()
    again = fold_all(made.fleet.terms, made.looks)
    assert (again.lateness, again.alike, again.split, again.copies) == (
        made.state.lateness,
        made.state.alike,
        made.state.split,
        made.state.copies,
    )
