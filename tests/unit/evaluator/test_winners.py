"""A/B tests: an incident of the stable arm alone makes no winner."""

import numpy as np
import pytest

from evaluator.evidence.state import State
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.rates import RateGate
from evaluator.statistics import rates
from evaluator.statistics.cohorts import CohortCounts
from evaluator.statistics.process import log_threshold
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Need, Objective
from services.common.telemetry.catalog import COHORTS
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

BAR = log_threshold(0.05)


def run(bad_looks: int) -> State:
    drafts = (GateDraft(MetricKind.ERRORS, required=True, primary=True),)
    policy = demo_policy(gates=drafts, objective=Objective.SUPERIOR)
    terms = demo_terms(policy, demo_plan(5000, period=240.0), features=0)
    made = Trial.begin(Fleet(terms, np.random.default_rng(1), rate=300.0))
    made.run(10)
    made.fleet.stable = Behaviour(errors=0.5)
    made.run(bad_looks)
    return made.state


def log_e(state: State) -> float:
    gate = state.gates[0]
    assert isinstance(gate, RateGate)
    return gate.safe.log_e


def test_one_look_at_which_stable_fails_makes_no_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.0 < log_e(run(1)) < 0.4 * BAR
    assert log_e(run(4)) >= BAR
    assert 0.0 < log_e(run(2)) < 0.7 * BAR

    guarded = rates.superiority_test
    monkeypatch.setattr(rates, "superiority_test", lambda better, alpha, agreeing_looks: guarded(better, alpha))
    assert log_e(run(1)) >= BAR


def window(test: float, stable: float) -> CohortCounts:
    """As many attempts of every cohort, of which these parts failed."""
    n = np.full(COHORTS, 100.0)
    return CohortCounts(n, np.round(n * test), n, np.round(n * stable))


@pytest.mark.parametrize("better", [None, GateMargin()])
def test_by_key_two_windows_in_which_stable_fails_make_no_winner(better: GateMargin | None) -> None:
    errors = Gate(
        "errors", MetricKind.ERRORS, Need.ALWAYS, GateMargin(1.1, 0.0005), GateMargin(1.5), 0.4, better=better
    )
    gate = CohortGate.open(errors, 1, agreeing=3).enter(1)
    for number in range(1, 65):
        bad = number in {20, 40}
        one = window(0.02, 1.0 if bad else 0.02)
        gate = gate.add(one, one).reach(0.9 * number / 64)
    # To be no worse than a stable version that failed needs no winner.
    assert (gate.safe.log_e >= BAR) is (better is None)
    assert len(gate.best) == (0 if better is None else 2)
    assert gate.restart().best == gate.enter(2).best == ()
    third = gate.add(window(0.02, 1.0), window(0.02, 1.0)).reach(2.0)
    assert third.safe.log_e >= BAR


def test_by_key_a_version_that_is_better_in_every_window_wins() -> None:
    value = Gate("v", MetricKind.ERRORS, Need.ALWAYS, GateMargin(1.1, 0.0005), GateMargin(), 0.4, better=GateMargin())
    gate = CohortGate.open(value, 1, agreeing=3).enter(1)
    for number in range(1, 9):
        gate = gate.add(window(0.02, 0.05), window(0.02, 0.05)).reach(0.9 * number / 64)
    assert gate.safe.log_e >= BAR
