"""The end of a period passes no version that is within its safe margin by chance, perhaps."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.gates.each_class import EachClassGate
from evaluator.gates.rates import rate_gate
from evaluator.gates.step_counts import StepCounts
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

ALPHA = 0.05
OFFSET, FACTOR = 0.0025, 1.5


def begun_in_an_outage(seed: int, *, worse: bool) -> Trial:
    """A rollout of ten looks that is published while stable fails 30 %, which ends at its second judged look.

    What it learnt of stable then is what is bet on, and what it finds by these bets soon after counts little.
    """
    terms = demo_terms(
        demo_policy(gates=(GateDraft(MetricKind.ERRORS, required=True),)), demo_plan(500, period=22.0), features=0
    )
    fleet = Fleet(terms, np.random.default_rng(seed), rate=18_000.0)
    fleet.stable = Behaviour(errors=0.3)
    made = Trial.begin(fleet, waiting_looks=30)
    for number in range(20):
        usual = 0.3 if number < 2 else 0.005
        fleet.stable = Behaviour(errors=usual)
        fleet.test = Behaviour(errors=FACTOR * usual + OFFSET if worse else usual)
        made.look()
        if made.outcome is not None:
            return made
    raise AssertionError


def test_after_an_outage_a_version_at_its_margin_is_not_promoted_for_want_of_a_violation() -> None:
    made = begun_in_an_outage(0, worse=True)
    decision = made.outcome
    assert decision is not None
    assert decision.at is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason
    assert decision.reason.startswith("the period ended, and v2 is too near to what is allowed: v2 failed ")
    assert "% is allowed" in decision.reason
    # What an older release concluded is replayed as it was.
    assert decide(made.state, replace(decision.at, rules=5)).code == "NO_VIOLATION"


def test_after_an_outage_a_version_alike_is_promoted() -> None:
    decision = begun_in_an_outage(0, worse=False).outcome
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason


@pytest.mark.parametrize("looks", [1, 200], ids=["one window", "windows of a few"])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_at_the_margin_one_test_passes_a_version_as_often_as_it_may(looks: int, share: float) -> None:
    """Also where windows are small and stable's rate is another in each."""
    rng, total = np.random.default_rng(5), 400_000
    n_c, n_s = round(total * share / looks), round(total * (1.0 - share) / looks)
    passed = 0
    for _ in range(400):
        stable = rng.uniform(0.002, 0.02, looks)
        rows = zip(
            rng.binomial(n_c, OFFSET + FACTOR * stable).tolist(), rng.binomial(n_s, stable).tolist(), strict=True
        )
        counted = StepCounts().plus([(n_c, x_c, n_s, x_s) for x_c, x_s in rows])
        passed += not counted.is_near(OFFSET, FACTOR, ALPHA, 1.0)
    # Three standard errors of 400 tries are 3.3 %.
    assert passed / 400 == pytest.approx(ALPHA, abs=0.033)


def test_rows_of_one_request_that_are_alike_say_less() -> None:
    counted = StepCounts().plus([(10_000, 60, 190_000, 950)])
    assert not counted.is_near(OFFSET, FACTOR, ALPHA, 1.0)
    assert counted.is_near(OFFSET, FACTOR, ALPHA, 12.0)


def test_windows_with_one_row_of_an_arm_have_the_variance_of_both() -> None:
    many = StepCounts().plus([(1, 0, 19, 1)] * 1_000)
    # Of 20 rows one is bad: a variance of .05, and 19 of 20 of it in the arm of one row.
    assert many.variance_test == pytest.approx(1_000 * 0.95**2 * 0.05)
    assert many.variance_stable == pytest.approx(1_000 * 0.95**2 * (1 / 19 * 18 / 19 * 19 / 18) / 19)
    assert StepCounts().plus([(50, 2, 0, 0)]).variance_stable == 0.0


def test_against_a_number_it_is_the_number_that_is_near() -> None:
    near, far = (StepCounts().plus([(10_000, x, 0, 0)]) for x in (180, 150))
    assert near.is_near_limit(0.02, ALPHA, 1.0)
    assert not far.is_near_limit(0.02, ALPHA, 1.0)
    assert far.is_near_limit(0.02, ALPHA, 20.0)
    assert not StepCounts().is_near_limit(1.0, ALPHA, 1.0)


def gate(**changes: object) -> Gate:
    margins = GateMargin(offset=0.005), GateMargin(offset=0.02)
    return replace(Gate("recall", MetricKind.RECALL, Need.ALWAYS, *margins, 1.0, positive=EACH_CLASS), **changes)  # type: ignore[arg-type] # fields by name


def test_gates_hold_the_sum_against_their_own_lines() -> None:
    near, far = [(4_000, 460, 76_000, 7_600)], [(4_000, 400, 76_000, 7_600)]
    one = rate_gate(gate(), 0.01)
    assert one.judge_safe(near).is_near_margin(ALPHA)
    assert not one.judge_safe(far).is_near_margin(ALPHA)
    each = EachClassGate.open(gate(), 0.01, ("3", "7"), 3)
    three, seven = each.parts
    assert not each.having([three.judge_safe(far), seven.judge_safe(far)]).is_near_margin(ALPHA)
    assert each.having([three.judge_safe(far), seven.judge_safe(near)]).is_near_margin(ALPHA)
    # Two points beyond a limit are what a harm must show by.
    limited = rate_gate(gate(metric=MetricKind.ACCURACY, positive="", limit=Limit(at_least=0.9)), 0.01)
    assert limited.judge_safe(near).is_near_margin(ALPHA)
    assert not limited.judge_safe(far).is_near_margin(ALPHA)
    # What must be better is held to evidence of that alone.
    better = rate_gate(gate(metric=MetricKind.ACCURACY, positive="", better=GateMargin(offset=0.0)), 0.01)
    assert not better.judge_safe(near).is_near_margin(ALPHA)
