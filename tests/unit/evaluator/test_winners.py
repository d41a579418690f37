"""A/B tests: an incident of the stable arm alone makes no winner."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.state import State
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import distribution_gate
from evaluator.gates.rates import RateGate
from evaluator.statistics import rates
from evaluator.statistics.agreement import Agreement
from evaluator.statistics.cohorts import CohortCounts
from evaluator.statistics.process import log_threshold, open_process
from evaluator.statistics.rates import RateTest, RateWindows
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Need, Objective
from services.common.telemetry import catalog
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
    assert log_e(run(1)) < 0.2 * BAR
    assert log_e(run(2)) < 0.2 * BAR
    assert log_e(run(5)) >= BAR

    # However many Routers saw it.
    opened = rates.update(rates.superiority_test(0.0, 0.05, agreeing_looks=3), RateWindows.of([(0, 0, 1_000, 5)]))
    incident = RateWindows.of([(100, 1, 100, 50)] * 3)
    assert rates.update(opened, incident).process.log_e == pytest.approx(BAR / 3)

    guarded = rates.superiority_test
    monkeypatch.setattr(rates, "superiority_test", lambda better, alpha, agreeing_looks: guarded(better, alpha))
    assert log_e(run(1)) >= BAR


def errors_of(looks: list[tuple[int, int, int, int]]) -> RateTest:
    test = rates.update(rates.superiority_test(0.0, 0.05, agreeing_looks=3), RateWindows.of([(0, 0, 2_000, 10)]))
    for look in looks:
        test = rates.update(test, RateWindows.of([look]))
    return test


ALIKE, INCIDENT = (150, 1, 150, 1), (150, 1, 150, 75)


def test_what_two_looks_alone_have_brought_counts_as_a_third_one_does() -> None:
    calm, two, four = (errors_of([ALIKE] * 10 + [INCIDENT] * bad) for bad in (0, 2, 4))
    assert two.process.log_e == pytest.approx(2.0 / 3.0 * BAR)
    assert two.log_e < 0.05 * BAR
    assert two.excess == pytest.approx(two.process.log_e - calm.process.log_e, rel=0.1)
    assert four.log_e >= BAR
    assert rates.restart(two).excess == 0.0


def test_an_incident_of_stables_costs_a_better_version_no_victory() -> None:
    """The bets that win most by an incident lose most afterwards, and had all of the wealth then: ln E was -58."""
    better, incident = (1_000, 3, 1_000, 5), (1_000, 5, 1_000, 500)
    assert errors_of([better] * 20).log_e >= BAR
    assert errors_of([incident] + [better] * 20).log_e >= BAR


def test_three_looks_that_agree_make_a_winner_at_once() -> None:
    assert errors_of([INCIDENT] * 2).log_e < BAR
    assert errors_of([INCIDENT] * 3).log_e >= BAR


def test_a_look_in_which_a_better_version_loses_is_no_gain() -> None:
    agreement = Agreement.of(0.05, 3)
    before = open_process(np.ones(2))
    lost = replace(before, log_e=np.array(-4.0))
    agreement, after = agreement.after(before, lost)
    assert (agreement.excess, after) == (0.0, lost)
    # What brings it back is a gain, as far as it may.
    agreement, after = agreement.after(lost, replace(before, log_e=np.array(9.0)))
    assert float(after.log_e) == pytest.approx(BAR / 3)
    assert agreement.excess == pytest.approx(4.0 + BAR / 3)


def histogram(bucket: int, rows: int) -> tuple[int, ...]:
    counts = [0] * (len(catalog.INFERENCE_DURATION.bounds) + 1)
    counts[bucket - 2 : bucket + 3] = [rows // 5] * 5
    return tuple(counts)


def test_one_look_of_a_slow_control_process_makes_no_winner_by_runtime() -> None:
    margins = GateMargin(buckets=1), GateMargin(buckets=2)
    gate = Gate("runtime", MetricKind.RUNTIME, Need.ALWAYS, *margins, 1.0, better=GateMargin())
    usual, slow = histogram(40, 1_000), histogram(60, 1_000)
    opened = distribution_gate(gate, 0.01, catalog.INFERENCE_DURATION.bounds).learn([(1, (), usual)])
    once = opened.judge([(1, usual, slow)])
    assert once.safe.process.log_e == pytest.approx(BAR / 3)
    assert once.safe.log_e == pytest.approx(0.0, abs=1e-9)
    assert once.judge([(1, usual, slow)]).safe.log_e < BAR
    assert once.judge([(1, usual, slow)]).judge([(1, usual, slow)]).safe.log_e >= BAR
    assert once.restart().safe.log_e == 0.0


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
