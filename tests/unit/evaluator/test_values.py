"""Numbers that callers report (engagement, revenue): judged by the share of them that is good."""

import numpy as np
import pytest

from evaluator.verdict.decision import Action
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Meaning, Objective
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
ENGAGED = GateDraft(MetricKind.VALUE, name="engagement", required=True, above=15.0, safe=GateMargin(offset=0.06))


def trial(
    engaged: float, gate: GateDraft = ENGAGED, objective: Objective = Objective.NON_INFERIOR, reported: float = 0.9
) -> Trial:
    policy = demo_policy(objective=objective, gates=(ERRORS, gate))
    terms = demo_terms(policy, demo_plan(2000, period=240.0), features=0)
    fleet = Fleet(terms, np.random.default_rng(4), rate=400.0, labelled=0.0, reported=reported)
    fleet.test = Behaviour(engaged=engaged)
    made = Trial.begin(fleet, waiting_looks=4)
    for _ in range(130):
        made.look()
        if made.outcome is not None:
            break
    return made


def test_a_version_that_engages_as_many_is_promoted() -> None:
    made = trial(0.3)
    assert made.outcome is not None
    assert made.outcome.action is Action.PROMOTE
    assert " values reported of v2 were good and " in made.outcome.reason


def test_a_version_that_engages_fewer_is_rolled_back() -> None:
    made = trial(0.2)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.gate) == (Action.ROLLBACK, "engagement")
    assert made.outcome.reason.endswith("0.5 points less are allowed")


def test_a_version_that_engages_more_wins_an_ab_test() -> None:
    gate = GateDraft(MetricKind.VALUE, primary=True, above=15.0)
    made = trial(0.42, gate, Objective.SUPERIOR)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.code) == (Action.PROMOTE, "SUPERIOR")


def test_a_limit_is_a_share_of_good_numbers() -> None:
    made = trial(0.3, GateDraft(MetricKind.VALUE, required=True, above=15.0, limit=Limit(at_least=0.4)))
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.gate) == (Action.ROLLBACK, "value limit")


def test_numbers_that_are_hardly_reported_hold_the_rollout() -> None:
    made = trial(0.3, reported=0.3)
    assert made.outcome is None or made.outcome.action is not Action.PROMOTE
    waits = [report.waits_for for report in made.decisions[-2].gates if report.gate == "engagement"]
    assert "values: 30." in waits[0] or "values: 29." in waits[0]


@pytest.mark.parametrize("above", [0.0, 1.0, 15.0, 0.003, -250.0, 1e6])
def test_bounds_can_be_asked_for(above: float) -> None:
    gate = GateDraft(MetricKind.VALUE, required=True, above=above)
    assert not complete_policy(PolicyDraft(gates=(gate,)), Meaning("other"))[1]


def test_what_is_no_bound_is_told_which_are_near() -> None:
    gate = GateDraft(MetricKind.VALUE, required=True, above=21.0)
    (violation,) = complete_policy(PolicyDraft(gates=(gate,)), Meaning("other"))[1]
    assert violation.field == "policy.gates[0].above"
    assert "write 20 or 25" in violation.description
    (violation,) = complete_policy(PolicyDraft(gates=(ENGAGED,)), Meaning("regression"))[1]
    assert violation.field == "policy.gates[0].metric"
    other = GateDraft(MetricKind.ERRORS, required=True, above=1.0)
    (violation,) = complete_policy(PolicyDraft(gates=(other,)), Meaning("other"))[1]
    assert violation.description == "is for value, and this gate watches errors"
