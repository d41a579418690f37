"""Rollouts whose requests are assigned by key: judged by cohorts of keys, at few looks."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.fold import fold, fold_all
from evaluator.evidence.state import State, start
from evaluator.gates.cohorts import CohortGate
from evaluator.questions.aa_test import relabelled
from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.verdict.reports import Verdict, report_gates
from evaluator.window.cohort_rows import cohort_attempts
from evaluator.window.counts import Counts, InstanceCounts, Series
from services.common.policy.defaults import check_together, complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Meaning, Need, Objective, PeriodEnd, Plan, Violation
from services.common.telemetry.catalog import COHORTS
from tests.fakes.keyed import KeyedFleet
from tests.fakes.metrics import CLASSES, Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
ACCURACY = GateDraft(MetricKind.ACCURACY, required=True, harm=GateMargin(1.0, 0.01), safe=GateMargin(1.0, 0.05))
RUNTIME = GateDraft(MetricKind.RUNTIME)
CONVERSION = GateDraft(MetricKind.VALUE, name="conversion", primary=True)


def keyed_terms(
    *gates: GateDraft,
    plan: Plan | None = None,
    objective: Objective = Objective.NON_INFERIOR,
    period_end: PeriodEnd = PeriodEnd.INCONCLUSIVE,
) -> Terms:
    policy = demo_policy(gates=gates or (ERRORS, ACCURACY, RUNTIME), objective=objective, period_end=period_end)
    return demo_terms(policy, plan or demo_plan(5000, period=240.0), features=0, sticky=True)


def trial(seed: int, terms: Terms, test: Behaviour, *, reported: float = 0.0, users: int = 2_000) -> Trial:
    random = np.random.default_rng(seed)
    fleet = KeyedFleet(terms, random, rate=400.0, test=test, reported=reported, users=users)
    return Trial.begin(fleet, waiting_looks=4)


def run(seed: int, terms: Terms, test: Behaviour, *, reported: float = 0.0, users: int = 2_000) -> Trial:
    made = trial(seed, terms, test, reported=reported, users=users)
    made.run(140)
    return made


def gate(state: State, name: str) -> CohortGate:
    found = next(one for one in state.gates if one.gate.name == name)
    assert isinstance(found, CohortGate)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_version_alike_is_promoted(seed: int) -> None:
    made = run(seed, keyed_terms(), Behaviour())
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.code) == (Action.PROMOTE, "SAFE"), made.outcome.reason


@pytest.mark.parametrize(
    ("test", "deciding"),
    [(Behaviour(errors=0.05), "errors"), (Behaviour(errors=1.0), "errors"), (Behaviour(wrong=0.2), "accuracy")],
)
def test_a_worse_version_is_rolled_back(test: Behaviour, deciding: str) -> None:
    for seed in range(3):
        made = run(seed, keyed_terms(), test)
        assert made.outcome is not None, seed
        assert (made.outcome.action, made.outcome.gate) == (Action.ROLLBACK, deciding), made.outcome.reason


def test_a_version_that_converts_more_users_wins_an_ab_test() -> None:
    terms = keyed_terms(ERRORS, CONVERSION, objective=Objective.SUPERIOR)
    won = run(2, terms, Behaviour(engaged=0.36), reported=0.9)
    assert won.outcome is not None
    assert (won.outcome.action, won.outcome.code) == (Action.PROMOTE, "SUPERIOR"), won.outcome.reason
    assert won.outcome.reason.startswith("v2 is better than v1 in conversion: ")
    drawn = run(2, terms, Behaviour(engaged=0.3), reported=0.9)
    assert drawn.outcome is not None
    assert (drawn.outcome.action, drawn.outcome.code) == (Action.CANCEL, "NO_WINNER")


def test_a_limit_is_judged_by_cohorts_too() -> None:
    limited = GateDraft(MetricKind.ERRORS, required=True, limit=Limit(at_most=0.02))
    made = run(1, keyed_terms(limited), Behaviour(errors=0.08))
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.gate) == (Action.ROLLBACK, "errors limit")
    assert "at most 2.00 % is allowed" in made.outcome.reason
    kept = run(1, keyed_terms(limited), Behaviour())
    assert kept.outcome is not None
    assert kept.outcome.action is Action.PROMOTE


def test_what_is_not_counted_by_cohorts_is_watched_and_decides_nothing() -> None:
    made = trial(0, keyed_terms(), Behaviour(seconds=0.02))
    made.run(10)
    runtime = next(report for report in made.decisions[-1].gates if report.gate == "runtime")
    assert runtime.harm.enough
    assert (runtime.verdict, runtime.required) == (Verdict.NONE, False)
    assert made.outcome is None or made.outcome.action is Action.PROMOTE


def test_few_users_show_nothing_and_nothing_is_promoted() -> None:
    made = run(0, keyed_terms(ERRORS), Behaviour(), users=12)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
    assert "assigned by key, only what is shown to be no worse passes" in made.outcome.reason


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


def test_a_process_that_dies_once_rolls_nothing_back() -> None:
    for broken in (4, 9, 20):
        made = trial(0, keyed_terms(ERRORS, GateDraft(MetricKind.VALUE, required=True)), Behaviour())
        fleet = made.fleet
        assert isinstance(fleet, KeyedFleet)
        for number in range(60):
            fleet.breaks = number in (broken, broken + 1)
            made.look()
        assert made.outcome is None, made.outcome
        assert len(gate(made.state, "errors").worst) == 2
        fleet.breaks = True
        ended = made.run(12)
        assert ended is not None
        assert (ended.action, ended.gate) == (Action.ROLLBACK, "errors")


def test_a_version_that_fails_after_it_has_passed_a_look_is_not_promoted() -> None:
    plan = demo_plan(5000, period=240.0, min_duration=200.0)
    made = trial(0, keyed_terms(ERRORS, plan=plan), Behaviour())
    passed = False
    for _ in range(60):
        passed = passed or made.look().verdict is Verdict.PASS
    assert passed
    made.fleet.test = Behaviour(errors=0.3)
    decision = made.run(80)
    assert decision is not None
    assert decision.action is Action.ROLLBACK, decision.reason


def test_a_step_in_which_no_look_could_compare_anything_goes_nowhere() -> None:
    terms = keyed_terms(ERRORS, plan=demo_plan(500, 5000, period=60.0))
    made = run(0, terms, Behaviour(errors=0.4), users=60)
    assert made.outcome is not None
    assert (made.outcome.action, made.step) == (Action.CANCEL, 0), made.outcome.reason
    assert "and needs more keys of v2: they are of " in made.outcome.reason


def test_a_drift_that_has_ended_delays_no_look() -> None:
    policy = demo_policy(gates=(ERRORS, GateDraft(MetricKind.INPUT_DRIFT)))
    terms = demo_terms(policy, demo_plan(5000, period=240.0, min_duration=240.0), sticky=True)
    made = trial(0, terms, Behaviour())
    for _ in range(40):
        made.look()
    taken = gate(made.state, "errors").schedule.taken
    # As after a drift: what was shown is shown anew.
    anew = tuple(one.restart() for one in made.state.gates if isinstance(one, CohortGate))
    made.state = replace(made.state, step_seconds=0.0, gates=anew)
    for _ in range(10):
        made.look()
    assert gate(made.state, "errors").schedule.taken >= taken + 4


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


def test_the_judge_judges_itself_by_cohorts_too() -> None:
    made = run(0, keyed_terms(ERRORS), Behaviour(errors=0.05))
    terms = replace(made.fleet.terms, test="v1's control")
    state = start(terms)
    for look in made.looks:
        state = fold(state, replace(look, window=relabelled(look.window, terms)))
    errors = report_gates(state, control_missing=False)[0]
    assert not errors.harm.enough
    # Half of the users are in the test arm, so that control is all the rest of them and nothing is left to compare.
    assert errors.test.n > 0 == errors.baseline.n


def test_what_another_release_counts_otherwise_is_left_out() -> None:
    terms = keyed_terms(ERRORS)
    at = (("epoch", "2"), ("outcome", "ok"), ("segment", ""), ("traffic", "live"), ("version", "v2"))

    def window(*counts: int) -> Counts:
        return (InstanceCounts("router-1", 1, (Series("crossfade.cohort.attempt", at, counts),)),)

    assert cohort_attempts(window(*range(COHORTS)), terms, 2).n_test == sum(range(COHORTS))
    assert cohort_attempts(window(*range(COHORTS)), terms, 3).n_test == 0
    assert cohort_attempts(window(1, 2, 3), terms, 2).n_test == 0


def violations(*gates: GateDraft, objective: Objective = Objective.NON_INFERIOR) -> tuple[Violation, ...]:
    draft, meaning = PolicyDraft(gates=gates), Meaning("classification", CLASSES, CLASSES[0])
    return complete_policy(draft, meaning, objective, sticky=True)[1]


def test_gates_that_nobody_can_judge_by_key_may_be_watched_only() -> None:
    judged = (ERRORS, ACCURACY, GateDraft(MetricKind.VALUE, required=True))
    watched = (RUNTIME, GateDraft(MetricKind.F1), GateDraft(MetricKind.VALUE, name="basket", above=20.0))
    assert not violations(*judged, *watched)
    for metric in (MetricKind.RUNTIME, MetricKind.F1, MetricKind.CLASS_BALANCE):
        (violation,) = violations(ERRORS, GateDraft(metric, required=True))
        assert violation.field == "policy.gates[1]"
        assert "assign by request" in violation.description
    (violation,) = violations(ERRORS, GateDraft(MetricKind.VALUE, required=True, above=20.0))
    assert "values above 0" in violation.description
    (violation,) = violations(ERRORS, GateDraft(MetricKind.F1, primary=True), objective=Objective.SUPERIOR)
    assert "f1 can't be judged" in violation.description


def test_the_default_gates_by_key_are_those_that_can_be_judged() -> None:
    meaning = Meaning("classification", CLASSES, CLASSES[0])
    policy, found = complete_policy(PolicyDraft(), meaning, sticky=True)
    assert not found
    needs = {gate.metric: gate.need for gate in policy.gates}
    assert needs == {
        MetricKind.ERRORS: Need.ALWAYS,
        MetricKind.RUNTIME: Need.NEVER,
        MetricKind.ACCURACY: Need.WITH_LABELS,
        MetricKind.INPUT_DRIFT: Need.NEVER,
    }
    better, found = complete_policy(PolicyDraft(), meaning, Objective.SUPERIOR, sticky=True)
    assert not found
    assert next(gate.metric for gate in better.gates if gate.better is not None) is MetricKind.ACCURACY


def test_shares_of_too_few_keys_are_refused() -> None:
    policy = demo_policy(gates=(ERRORS,))
    for share, wrong in ((50, False), (49, True), (9_950, False), (9_951, True)):
        found = check_together(policy, demo_plan(share), sticky=True)
        assert [one.field for one in found] == (["plan.steps[0].share_bps"] if wrong else [])
    assert not check_together(policy, demo_plan(1))
