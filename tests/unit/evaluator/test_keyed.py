"""Rollouts whose requests are assigned by key: judged by cohorts of keys."""

from dataclasses import replace

import pytest

from evaluator.evidence.fold import fold
from evaluator.evidence.state import start
from evaluator.gates.cohorts import CohortGate
from evaluator.questions.aa_test import relabelled
from evaluator.verdict.decision import Action
from evaluator.verdict.reports import Verdict, report_gates
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Limit, Objective
from tests.fakes.keyed import KeyedFleet
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms
from tests.unit.evaluator.keyed_rollouts import ERRORS, gate, keyed_terms, run, trial

CONVERSION = GateDraft(MetricKind.VALUE, name="conversion", primary=True)


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
