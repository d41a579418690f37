"""Policies with limits, and those of A/B tests: what they may ask for."""

import re

import pytest

from crossfade.common.v1 import policy_pb2
from services.common.policy import messages
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Meaning, Need, Objective

CHURN = Meaning("classification", ("stays", "churns"), "churns")
ERRORS = GateDraft(MetricKind.ERRORS, required=True)


@pytest.mark.parametrize(
    ("metric", "limit", "field", "told"),
    [
        (MetricKind.ACCURACY, Limit(at_most=0.1), "limit", "given as at_least"),
        (MetricKind.ERRORS, Limit(at_least=0.9), "limit", "given as at_most"),
        (MetricKind.ERRORS, Limit(), "limit", "given as at_most"),
        (MetricKind.ACCURACY, Limit(at_least=1.0), "limit.at_least", "above 0 and below 1"),
        (MetricKind.RECALL, Limit(at_least=float("nan")), "limit.at_least", "above 0 and below 1"),
        (MetricKind.ERRORS, Limit(at_most=0.0), "limit.at_most", "above 0 and below 1"),
        (MetricKind.ERRORS, Limit(at_most=0.1, quantile=0.9), "limit.quantile", "for runtimes"),
        (MetricKind.RUNTIME, Limit(at_most=0.1), "limit", "duration: 20ms"),
        (MetricKind.RUNTIME, Limit(seconds=0.0), "limit.duration", "0.1 ms to 9 s"),
        (MetricKind.RUNTIME, Limit(seconds=10.0), "limit.duration", "0.1 ms to 9 s"),
        (MetricKind.RUNTIME, Limit(seconds=0.02, quantile=1.0), "limit.quantile", "below 1"),
        (MetricKind.INPUT_DRIFT, Limit(at_most=0.1), "limit", "has no limit"),
        (MetricKind.CLASS_BALANCE, Limit(at_most=0.1), "limit", "has no limit"),
    ],
)
def test_a_limit_that_makes_no_sense_is_named(metric: MetricKind, limit: Limit, field: str, told: str) -> None:
    draft = PolicyDraft(gates=(ERRORS, GateDraft(metric, limit=limit)))
    _, violations = complete_policy(draft, CHURN)
    assert [one.field for one in violations] == [f"policy.gates[1].{field}"]
    assert told in violations[0].description


def test_a_limit_has_no_margins() -> None:
    gate = GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=0.02), safe=GateMargin(buckets=2))
    _, violations = complete_policy(PolicyDraft(gates=(ERRORS, gate)), CHURN)
    assert [one.field for one in violations] == ["policy.gates[1]"]


def test_a_limit_stands_beside_the_comparison_of_its_metric() -> None:
    gates = (
        GateDraft(MetricKind.RUNTIME, required=True),
        GateDraft(MetricKind.RUNTIME, required=True, limit=Limit(seconds=0.02)),
    )
    policy, violations = complete_policy(PolicyDraft(gates=gates), CHURN)
    assert not violations
    assert [(gate.name, gate.share) for gate in policy.gates] == [("runtime", 0.5), ("runtime limit", 0.5)]


@pytest.mark.parametrize(
    ("gates", "field", "told"),
    [
        ((ERRORS,), "policy.gates", "say which gate is primary"),
        (
            (ERRORS, GateDraft(MetricKind.ACCURACY, required=True), GateDraft(MetricKind.RECALL, required=True)),
            "policy.gates",
            "say which gate is primary",
        ),
        (
            (GateDraft(MetricKind.ERRORS, primary=True), GateDraft(MetricKind.ACCURACY, primary=True)),
            "policy.gates",
            "more than one gate is primary",
        ),
        (
            (ERRORS, GateDraft(MetricKind.CLASS_BALANCE, primary=True)),
            "policy.gates[1].primary",
            "no version is better",
        ),
        ((ERRORS, GateDraft(MetricKind.CLASS_BALANCE, required=True)), "policy.gates[1].primary", "no version is"),
        (
            (ERRORS, GateDraft(MetricKind.RECALL, positive="*", primary=True)),
            "policy.gates[1].primary",
            "as many as there are classes",
        ),
        (
            (ERRORS, GateDraft(MetricKind.RECALL, limit=Limit(at_least=0.9), primary=True)),
            "policy.gates[1].primary",
            "compares with no version",
        ),
        (
            (ERRORS, GateDraft(MetricKind.RECALL, primary=True, better=GateMargin(buckets=1))),
            "policy.gates[1].better.buckets",
            "buckets are for runtimes",
        ),
        (
            (ERRORS, GateDraft(MetricKind.RECALL, primary=True, better=GateMargin(factor=1.5))),
            "policy.gates[1].better.factor",
            "is an offset",
        ),
        (
            (
                ERRORS,
                GateDraft(MetricKind.RECALL, better=GateMargin(offset=0.1)),
                GateDraft(MetricKind.F1, primary=True),
            ),
            "policy.gates[1].better",
            "add primary: true",
        ),
    ],
)
def test_an_ab_test_has_one_metric_to_be_better_in(gates: tuple[GateDraft, ...], field: str, told: str) -> None:
    _, violations = complete_policy(PolicyDraft(gates=gates), CHURN, Objective.SUPERIOR)
    assert field in [one.field for one in violations]
    assert any(re.search(told, one.description) for one in violations)


def test_the_only_required_gate_on_quality_is_the_primary_one() -> None:
    policy, violations = complete_policy(PolicyDraft(), CHURN, Objective.SUPERIOR)
    assert not violations
    primary = [gate for gate in policy.gates if gate.better is not None]
    assert [(gate.name, gate.need, gate.better) for gate in primary] == [("f1", Need.ALWAYS, GateMargin())]
    named = (ERRORS, GateDraft(MetricKind.RUNTIME, primary=True, better=GateMargin(buckets=2)))
    policy, violations = complete_policy(PolicyDraft(gates=named), Meaning("regression"), Objective.SUPERIOR)
    assert not violations
    assert policy.gates[1].need is Need.ALWAYS


def test_a_model_without_a_gate_on_quality_says_which_gate_is_primary() -> None:
    _, violations = complete_policy(PolicyDraft(), Meaning("other"), Objective.SUPERIOR)
    assert [one.field for one in violations] == ["policy.gates"]
    policy, violations = complete_policy(PolicyDraft(), Meaning("regression"), Objective.SUPERIOR)
    assert not violations
    assert [gate.name for gate in policy.gates if gate.better is not None] == ["absolute_error"]
    assert not complete_policy(PolicyDraft(), Meaning(), Objective.SUPERIOR)[1]


def test_a_canary_has_no_primary_gate() -> None:
    gates = (ERRORS, GateDraft(MetricKind.ACCURACY, primary=True))
    _, violations = complete_policy(PolicyDraft(gates=gates), CHURN)
    assert [one.field for one in violations] == ["policy.gates[1].primary"]


def test_an_ab_test_has_one_step() -> None:
    _, violations = complete_plan(PlanDraft((StepDraft(100), StepDraft(5000))), Objective.SUPERIOR)
    assert [one.field for one in violations] == ["plan.steps"]
    assert not complete_plan(PlanDraft((StepDraft(5000),)), Objective.SUPERIOR)[1]


def test_limits_and_ab_tests_survive_the_wire() -> None:
    gates = (
        GateDraft(MetricKind.RUNTIME, "slow", required=True, limit=Limit(seconds=0.02, quantile=0.99)),
        GateDraft(MetricKind.ERRORS, required=True, limit=Limit(at_most=0.01)),
        GateDraft(MetricKind.RECALL, required=True, limit=Limit(at_least=0.9)),
        GateDraft(MetricKind.ACCURACY, primary=True, better=GateMargin(offset=0.01)),
    )
    policy, violations = complete_policy(PolicyDraft(gates=gates, judge_young=True), CHURN, Objective.SUPERIOR)
    assert not violations
    again = messages.policy_draft(messages.policy_message(policy))
    assert complete_policy(again, CHURN, Objective.SUPERIOR) == (policy, ())


def test_objectives_of_a_newer_release_are_not_known() -> None:
    assert messages.objective(policy_pb2.OBJECTIVE_UNSPECIFIED) is Objective.NON_INFERIOR
    assert messages.objective(policy_pb2.OBJECTIVE_SUPERIOR) is Objective.SUPERIOR
    assert messages.objective(policy_pb2.Objective.ValueType(9)) is None
