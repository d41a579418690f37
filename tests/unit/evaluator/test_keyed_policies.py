"""Policies by key: what can be judged, and what is refused."""

from services.common.policy.defaults import check_together, complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning, Need, Objective, Violation
from tests.fakes.metrics import CLASSES
from tests.fakes.rollouts import demo_plan, demo_policy
from tests.unit.evaluator.keyed_rollouts import ACCURACY, ERRORS, RUNTIME


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
