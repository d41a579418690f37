"""The few looks of rollouts by key: what is foreseen between them, and what a split or a step begins anew."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.fold import fold, fold_all
from evaluator.verdict.reports import Verdict
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.cohort_rows import cohort_attempts
from evaluator.window.counts import Counts, InstanceCounts, Series
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit
from services.common.telemetry.catalog import COHORTS
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import demo_plan
from tests.unit.evaluator.keyed_rollouts import ACCURACY, ERRORS, gate, keyed_terms, run, trial


def test_between_looks_harm_does_not_change_and_the_next_look_is_named() -> None:
    terms = keyed_terms(ERRORS, GateDraft(MetricKind.VALUE, required=True), plan=demo_plan(5000, period=1_000.0))
    made, seen = trial(0, terms, Behaviour()), []
    for _ in range(40):
        made.look()
        errors = gate(made.state, "errors")
        seen.append((errors.schedule.taken, errors.harm.log_e))
    assert len({log_e for _, log_e in seen}) <= len({taken for taken, _ in seen}) < 10
    waits = [report.waits_for for one in made.decisions for report in one.gates if report.gate == "errors"]
    assert "its next look, in 13 s: by key there are few" in waits


def test_the_look_that_shows_it_is_foreseen() -> None:
    tight = GateDraft(MetricKind.ERRORS, required=True, harm=GateMargin(1.0, 0.0005), safe=GateMargin(1.0, 0.002))
    terms = keyed_terms(tight, GateDraft(MetricKind.VALUE, required=True), plan=demo_plan(5000, period=1_000.0))
    for seed in range(4):
        made, foreseen, shown = trial(seed, terms, Behaviour()), [], 0.0
        for _ in range(400):
            made.look()
            report = made.decisions[-1].gates[0]
            if report.verdict is Verdict.PASS:
                shown = made.state.judged_seconds
                break
            if "which should show it if keys go on coming as they do; the next is in " in report.waits_for:
                assert report.needed == pytest.approx(200.0 * report.needed_seconds, rel=0.3)
                foreseen.append(made.state.judged_seconds + report.needed_seconds)
        assert len(foreseen) > 4
        assert 0.4 < shown / float(np.median(foreseen)) < 2.5


def test_what_goes_on_beyond_its_limit_is_not_foreseen_to_pass() -> None:
    limited = GateDraft(MetricKind.ERRORS, required=True, limit=Limit(at_most=0.05))
    made = trial(1, keyed_terms(limited, plan=demo_plan(5000, period=1_000.0)), Behaviour(errors=0.055))
    for _ in range(20):
        made.look()
    report = made.decisions[-1].gates[0]
    assert (report.verdict, report.needed, report.needed_seconds) == (Verdict.CONTINUE, 0, 0.0)
    assert report.waits_for.startswith("its next look, in ")


def test_what_was_shown_before_another_split_stays_shown_once_the_present_agrees() -> None:
    made = trial(0, keyed_terms(ERRORS, plan=demo_plan(5000, period=240.0, min_duration=230.0)), Behaviour())
    for _ in range(60):
        made.look()
    shown = gate(made.state, "errors").safe.log_e
    assert shown > 3.0
    made.fleet.epoch += 1
    made.look()
    assert gate(made.state, "errors").safe.log_e < 3.0
    for _ in range(12):
        made.look()
    assert gate(made.state, "errors").safe.log_e > 3.0


def test_the_recorded_windows_give_the_same_evidence_bit_for_bit() -> None:
    made = run(1, keyed_terms(), Behaviour(wrong=0.1))
    again = fold_all(made.fleet.terms, made.looks)
    for name in ("errors", "accuracy"):
        one, other = gate(made.state, name), gate(again, name)
        assert (one.harm, one.safe, one.schedule) == (other.harm, other.safe, other.schedule)


def test_every_step_has_looks_and_a_part_of_the_error_of_its_own() -> None:
    made = trial(0, keyed_terms(ERRORS, plan=demo_plan(2000, 5000, period=120.0)), Behaviour())
    assert gate(made.state, "errors").harm.part == 0.5
    while made.step == 0:
        made.look()
    made.look()
    second = gate(made.state, "errors")
    assert (second.schedule.taken, second.seen.n_test, second.safe.log_e) == (0, 0.0, 0.0)


def test_another_split_begins_anew_and_no_look_is_taken_twice() -> None:
    made = trial(0, keyed_terms(ERRORS, ACCURACY), Behaviour())
    for _ in range(8):
        made.look()
    taken = gate(made.state, "errors").schedule.taken
    assert taken
    assert gate(made.state, "accuracy").seen.n_test
    look = replace(made.looks[-1], sequence=made.state.sequence + 1, epoch=made.fleet.epoch + 1)
    after = fold(made.state, look)
    for name in ("errors", "accuracy"):
        anew = gate(after, name)
        assert (anew.schedule.taken, anew.mature.n_test, anew.safe.log_e) == (taken, 0.0, 0.0)


def test_what_another_release_counts_otherwise_is_left_out() -> None:
    terms = keyed_terms(ERRORS)
    at = (("epoch", "2"), ("outcome", "ok"), ("segment", ""), ("traffic", "live"), ("version", "v2"))

    def window(*counts: int) -> Counts:
        return (InstanceCounts("router-1", 1, (Series("crossfade.cohort.attempt", at, counts),)),)

    assert cohort_attempts(ArmCounts(window(*range(COHORTS)), terms), 2).n_test == sum(range(COHORTS))
    assert cohort_attempts(ArmCounts(window(*range(COHORTS)), terms), 3).n_test == 0
    assert cohort_attempts(ArmCounts(window(1, 2, 3), terms), 2).n_test == 0
