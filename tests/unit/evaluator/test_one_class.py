"""Where all labels are of one class a version that is bad in the other is not promoted, and a good one not undone."""

import numpy as np
import pytest

from evaluator.verdict.decision import Action, Decision
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import GateMargin, Limit
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
EXCHANGED = Behaviour(wrong=0.97, missed=0.97)
MISSING = Behaviour(missed=0.9)
GATES = (
    GateDraft(MetricKind.F1, required=True, positive="3"),
    GateDraft(MetricKind.PRECISION, required=True, positive="3"),
    GateDraft(MetricKind.F1, required=True, positive=EACH_CLASS),
    GateDraft(MetricKind.PRECISION, required=True, positive=EACH_CLASS),
    GateDraft(MetricKind.RECALL, required=True, positive="3"),
    GateDraft(MetricKind.RECALL, required=True, positive=EACH_CLASS),
    GateDraft(MetricKind.F1, required=True, positive="3", limit=Limit(at_least=0.7)),
    GateDraft(MetricKind.PRECISION, required=True, positive="3", limit=Limit(at_least=0.7)),
)


def trial(gate: GateDraft, test: Behaviour, positives: float, seed: int = 0) -> Trial:
    """A rollout that is judged by one gate on labels, and by errors."""
    terms = demo_terms(demo_policy(gates=(ERRORS, gate)), demo_plan(5000, period=120.0), features=0)
    fleet = Fleet(terms, np.random.default_rng(seed), test=test, positives=positives)
    fleet.run(60.0, ticks=10)
    return Trial.begin(fleet)


def outcome(gate: GateDraft, test: Behaviour, positives: float) -> tuple[Trial, Decision]:
    made = trial(gate, test, positives)
    decision = made.run(80)
    assert decision is not None
    return made, decision


@pytest.mark.parametrize("test", [EXCHANGED, MISSING])
@pytest.mark.parametrize("gate", GATES)
def test_no_bad_version_is_promoted_where_no_row_is_of_the_class(gate: GateDraft, test: Behaviour) -> None:
    made, decision = outcome(gate, test, 0.0)
    assert decision.action in {Action.CANCEL, Action.ROLLBACK}, decision.reason
    assert not any(one.action in {Action.PROMOTE, Action.ADVANCE} for one in made.decisions)


@pytest.mark.parametrize("gate", GATES)
def test_no_good_version_is_rolled_back_where_no_row_is_of_the_class(gate: GateDraft) -> None:
    decision = outcome(gate, Behaviour(), 0.0)[1]
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason


@pytest.mark.parametrize("gate", GATES)
def test_where_rows_of_the_class_come_a_good_version_is_promoted_and_a_bad_one_is_not(gate: GateDraft) -> None:
    good = outcome(gate, Behaviour(), 0.5)[1]
    assert good.action is Action.PROMOTE, good.reason
    bad = outcome(gate, EXCHANGED, 0.5)[1]
    assert bad.action is Action.ROLLBACK, bad.reason


def test_what_is_waited_for_is_told() -> None:
    made, decision = outcome(GATES[0], Behaviour(), 0.0)
    assert decision.reason == (
        "the period ended, and f1 lacks labels of rows that are 3: 0 of v2's and 0 of v1's, and 10 of each are needed, "
        "since without any a bad version has the same F1"
    )
    f1 = next(report for report in made.decisions[-1].gates if report.gate == "f1")
    assert f1.waits_for.startswith("labels of rows that are 3: 0 of v2's")


def test_a_margin_that_no_version_could_break_shows_nothing() -> None:
    gate = GateDraft(MetricKind.F1, required=True, positive="3", safe=GateMargin(1.0, 0.05))
    # Stable finds nearly nothing.
    made = trial(gate, Behaviour(missed=1.0), 0.02)
    made.fleet.stable = Behaviour(missed=0.97, wrong=0.2)
    decision = made.run(80)
    assert decision is not None
    assert decision.action is Action.CANCEL, decision.reason
    assert "f1 lacks a margin that could be broken: v1's F1 for 3 is " in decision.reason
