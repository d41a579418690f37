"""Regressions: judged by how far they are off."""

import numpy as np
import pytest

from evaluator.gates.distributions import RATIO, DistributionGate
from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import FEEDBACK_ERROR
from evaluator.window.counts import InstanceCounts, Series
from evaluator.window.label_rows import slice_counts
from evaluator.window.labels import Labels
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Meaning, Objective
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

GATES = (
    GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
    GateDraft(MetricKind.ABSOLUTE_ERROR, required=True),
)


def regression_terms(*, objective: Objective = Objective.NON_INFERIOR) -> Terms:
    policy = demo_policy(objective=objective, task="regression", gates=GATES)
    return demo_terms(policy, demo_plan(2000, period=240.0), features=0)


def trial(off: float, seed: int = 1, objective: Objective = Objective.NON_INFERIOR) -> Trial:
    fleet = Fleet(regression_terms(objective=objective), np.random.default_rng(seed), rate=800.0, regression=True)
    fleet.test = Behaviour(off=off)
    made = Trial.begin(fleet, waiting_looks=4)
    for _ in range(130):
        made.look()
        if made.outcome is not None:
            break
    return made


@pytest.mark.parametrize("seed", range(3))
def test_a_version_that_is_as_far_off_is_promoted(seed: int) -> None:
    made = trial(1.0, seed)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.code) == (Action.PROMOTE, "SAFE")
    assert "was off by" in made.outcome.reason


def test_a_version_that_is_further_off_is_rolled_back() -> None:
    made = trial(1.6)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.gate) == (Action.ROLLBACK, "absolute_error")
    assert made.outcome.reason.startswith("v2 was off by 1.")
    assert made.outcome.reason.endswith("+9 % is allowed")
    gate = made.state.gates[1]
    assert isinstance(gate, DistributionGate)
    test, stable = gate.quantiles(0.5)
    assert test / stable == pytest.approx(1.6, rel=0.15)


def test_a_nearer_version_wins_an_ab_test() -> None:
    made = trial(0.5, objective=Objective.SUPERIOR)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.code) == (Action.PROMOTE, "SUPERIOR")


def test_no_labels_are_no_evidence() -> None:
    fleet = Fleet(regression_terms(), np.random.default_rng(2), rate=800.0, regression=True, labelled=0.0)
    made = Trial.begin(fleet)
    for _ in range(130):
        made.look()
    assert made.outcome is None or made.outcome.action is not Action.PROMOTE
    assert made.state.gates[1].test_n == 0


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_errors_that_are_not_told_apart_promote_nothing(scale: float) -> None:
    fleet = Fleet(regression_terms(), np.random.default_rng(2), rate=800.0, regression=True)
    fleet.stable, fleet.test = Behaviour(off=scale), Behaviour(off=100.0 * scale)
    made = Trial.begin(fleet, waiting_looks=4)
    for _ in range(130):
        made.look()
        if made.outcome is not None:
            break
    assert made.outcome is not None
    assert made.outcome.action is not Action.PROMOTE
    assert "none are told apart" in made.outcome.reason


def test_numbers_are_neither_right_nor_wrong() -> None:
    assert Labels(700, 0, (), (700, 0)).bad(MetricKind.ACCURACY, 0) == (0, 0)
    draft = GateDraft(MetricKind.ACCURACY, required=True)
    (violation,) = complete_policy(PolicyDraft(gates=(draft,)), Meaning("regression"))[1]
    assert violation.description.endswith("the model's task is regression: use absolute_error")


def test_errors_by_other_buckets_are_left_out() -> None:
    series = Series(FEEDBACK_ERROR, (("slice", "1.0"), ("traffic", "live"), ("version", "v2")), (5,) * 40)
    (counts,) = slice_counts(ArmCounts((InstanceCounts("router", 1, (series,)),), regression_terms())).values()
    assert counts.test.rows == 0


def test_a_margin_is_a_whole_number_of_buckets() -> None:
    assert pytest.approx(2.0) == RATIO**8
