"""Policies and plans: defaults, shares of the rollback error, violations with the field's path."""

import math
import re
from dataclasses import replace

import pytest

from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Meaning, Need, Objective, PeriodEnd
from tests.fakes.rollouts import demo_terms


def fields(draft: PolicyDraft, task: str = "classification") -> list[str]:
    return [violation.field for violation in complete_policy(draft, Meaning(task))[1]]


def test_a_classification_gets_errors_runtime_accuracy_and_watched_inputs() -> None:
    policy, violations = complete_policy(PolicyDraft(), Meaning("classification"))
    assert not violations
    assert [(gate.name, gate.need) for gate in policy.gates] == [
        ("errors", Need.ALWAYS),
        ("runtime", Need.ALWAYS),
        ("accuracy", Need.WITH_LABELS),
        ("input_drift", Need.NEVER),
    ]
    assert [gate.share for gate in policy.gates] == pytest.approx([0.4, 0.3, 0.3, 0.0])
    assert policy.gates[0].harm == GateMargin(1.1, 0.0005)
    assert policy.gates[0].safe == GateMargin(1.5, 0.0025)
    assert (policy.gates[1].harm.buckets, policy.gates[1].safe.buckets) == (1, 2)
    assert (policy.gates[2].harm.offset, policy.gates[2].safe.offset) == (0.005, 0.02)


def test_a_regression_is_judged_by_how_far_it_is_off() -> None:
    policy, _ = complete_policy(PolicyDraft(), Meaning("regression"))
    (gate,) = (gate for gate in policy.gates if gate.metric is MetricKind.ABSOLUTE_ERROR)
    assert (gate.need, gate.harm, gate.safe) == (Need.WITH_LABELS, GateMargin(buckets=1), GateMargin(buckets=2))
    asked = PolicyDraft(gates=(GateDraft(MetricKind.ABSOLUTE_ERROR, required=True, safe=GateMargin(1.0, 0.1)),))
    _, violations = complete_policy(asked, Meaning("classification", ("a", "b")))
    assert [one.field for one in violations] == [
        "policy.gates[0].safe",
        "policy.gates[0].safe",
        "policy.gates[0].metric",
    ]
    limited = PolicyDraft(gates=(GateDraft(MetricKind.ABSOLUTE_ERROR, required=True, limit=Limit(at_most=0.1)),))
    _, violations = complete_policy(limited, Meaning("regression"))
    assert [one.field for one in violations] == ["policy.gates[0].limit"]


def test_other_tasks_have_no_accuracy_and_share_the_error_over_what_is_left() -> None:
    policy, _ = complete_policy(PolicyDraft(), Meaning("other"))
    assert [gate.metric for gate in policy.gates] == [MetricKind.ERRORS, MetricKind.RUNTIME, MetricKind.INPUT_DRIFT]
    assert math.fsum(gate.share for gate in policy.gates) == pytest.approx(1.0)


def test_numbers_that_were_not_given_get_their_defaults() -> None:
    policy, _ = complete_policy(PolicyDraft(look_interval=2.0), Meaning("other"))
    assert (policy.alpha_rollback, policy.alpha_promote, policy.power) == (0.01, 0.05, 0.95)
    assert policy.stale_after == 6.0
    assert policy.settling == 30.0
    assert policy.period_end is PeriodEnd.INCONCLUSIVE
    assert (policy.labels.min_coverage, policy.labels.min_age, policy.labels.max_coverage_gap) == (0.5, 60.0, 0.1)
    assert (policy.drift_margin, policy.fresh_instances) == (0.1, 0.95)


def test_a_settling_of_zero_is_not_the_default() -> None:
    policy, violations = complete_policy(PolicyDraft(settling=0.0), Meaning("other"))
    assert not violations
    assert policy.settling == 0.0


def test_gates_of_one_metric_share_its_weight_and_given_weights_count() -> None:
    two = PolicyDraft(
        gates=(
            GateDraft(MetricKind.ERRORS, required=True),
            GateDraft(MetricKind.ACCURACY, name="loose"),
            GateDraft(MetricKind.ACCURACY, name="tight"),
        )
    )
    policy, violations = complete_policy(two, Meaning("classification"))
    assert not violations
    assert [gate.share for gate in policy.gates] == pytest.approx([0.4 / 0.7, 0.15 / 0.7, 0.15 / 0.7])
    weighted = PolicyDraft(
        gates=(GateDraft(MetricKind.ERRORS, required=True, weight=3.0), GateDraft(MetricKind.RUNTIME, weight=1.0))
    )
    policy, _ = complete_policy(weighted, Meaning("other"))
    assert [gate.share for gate in policy.gates] == pytest.approx([0.75, 0.25])
    assert policy.gate_alpha(policy.gates[0]) == pytest.approx(0.0075)


def gates(*drafts: GateDraft) -> PolicyDraft:
    return PolicyDraft(gates=(GateDraft(MetricKind.ERRORS, name="first", required=True), *drafts))


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (gates(GateDraft(None)), "policy.gates[1].metric"),
        (gates(GateDraft(MetricKind.RUNTIME, name="first")), "policy.gates[1].name"),
        (gates(GateDraft(MetricKind.RUNTIME, harm=GateMargin(offset=0.1))), "policy.gates[1].harm"),
        (gates(GateDraft(MetricKind.RUNTIME, safe=GateMargin(buckets=41))), "policy.gates[1].safe.buckets"),
        (gates(GateDraft(MetricKind.ACCURACY, safe=GateMargin(offset=1.5))), "policy.gates[1].safe.offset"),
        (gates(GateDraft(MetricKind.ACCURACY, safe=GateMargin(offset=math.nan))), "policy.gates[1].safe.offset"),
        (gates(GateDraft(MetricKind.ACCURACY, harm=GateMargin(factor=0.5))), "policy.gates[1].harm.factor"),
        (gates(GateDraft(MetricKind.ACCURACY, harm=GateMargin(buckets=2))), "policy.gates[1].harm.buckets"),
        (gates(GateDraft(MetricKind.ACCURACY, harm=GateMargin(), safe=GateMargin())), "policy.gates[1].safe"),
        (gates(GateDraft(MetricKind.ACCURACY, harm=GateMargin(offset=0.1))), "policy.gates[1].safe"),
        (gates(GateDraft(MetricKind.ACCURACY, weight=-1.0)), "policy.gates[1].weight"),
        (gates(GateDraft(MetricKind.INPUT_DRIFT, required=True)), "policy.gates[1].required"),
        (PolicyDraft(gates=(GateDraft(MetricKind.ERRORS),)), "policy.gates"),
        (PolicyDraft(look_interval=0.01), "policy.look_interval"),
        (PolicyDraft(settling=-1.0), "policy.settling"),
        (PolicyDraft(alpha_rollback=0.7), "policy.alpha_rollback"),
        (PolicyDraft(alpha_promote=math.nan), "policy.alpha_promote"),
        (PolicyDraft(power=0.2), "policy.power"),
        (PolicyDraft(min_coverage=1.2), "policy.labels.min_coverage"),
        (PolicyDraft(min_age=-1.0), "policy.labels.min_age"),
        (PolicyDraft(max_coverage_gap=-0.1), "policy.labels.max_coverage_gap"),
        (PolicyDraft(drift_margin=2.0), "policy.drift_margin"),
        (PolicyDraft(stale_after=1.0), "policy.stale_after"),
        (PolicyDraft(fresh_instances=1.1), "policy.fresh_instances"),
    ],
)
def test_what_contradicts_itself_is_named_with_its_path(draft: PolicyDraft, field: str) -> None:
    assert field in fields(draft)


def test_a_plan_without_steps_is_one_hour_at_five_percent() -> None:
    plan, violations = complete_plan(PlanDraft())
    assert not violations
    assert [(step.share_bps, step.period, step.min_duration) for step in plan.steps] == [(500, 3600.0, 0.0)]


@pytest.mark.parametrize(
    ("step", "field"),
    [
        (StepDraft(0), "plan.steps[1].share_bps"),
        (StepDraft(10_001), "plan.steps[1].share_bps"),
        (StepDraft(100), "plan.steps[1].share_bps"),
        (StepDraft(1000, period=0.0), "plan.steps[1].period"),
        (StepDraft(1000, period=math.inf), "plan.steps[1].period"),
        (StepDraft(1000, min_duration=61.0, period=60.0), "plan.steps[1].min_duration"),
        (StepDraft(1000, shadow=True), "plan.steps[1].mode"),
        (StepDraft(0, shadow=True), "plan.steps[1].mode"),
    ],
)
def test_a_step_that_cannot_be_is_named_with_its_path(step: StepDraft, field: str) -> None:
    _, violations = complete_plan(PlanDraft((StepDraft(500), step)))
    assert field in [violation.field for violation in violations]


def test_the_hash_changes_with_whatever_changes_the_judgement() -> None:
    terms = demo_terms()
    same = demo_terms()
    assert terms.policy_hash() == same.policy_hash()
    others = [
        replace(terms, policy=replace(terms.policy, alpha_rollback=0.02)),
        replace(terms, sticky=True),
        replace(terms, stable_profile=None),
        demo_terms(features=3),
    ]
    assert len({terms.policy_hash(), *(other.policy_hash() for other in others)}) == 5


CHURN = Meaning("classification", ("stays", "churns"), "churns")
CENTURY = Meaning("classification", tuple(f"c{number}" for number in range(101)))
WORDS = Meaning("classification", tuple(f"c{number}" for number in range(1_001)), "c0")
MANY = Meaning("classification", tuple(f"c{number}" for number in range(33)), "c0")


def test_a_version_with_a_positive_class_is_judged_by_f1() -> None:
    policy, _ = complete_policy(PolicyDraft(), CHURN)
    quality = policy.gates[2]
    assert (quality.name, quality.metric, quality.positive) == ("f1", MetricKind.F1, "churns")
    assert (quality.harm.offset, quality.safe.offset) == (0.005, 0.02)
    assert quality.need is Need.WITH_LABELS
    assert quality.share == pytest.approx(0.3)
    for many in (MANY, replace(CHURN, stable_classes=40)):
        assert complete_policy(PolicyDraft(), many)[0].gates[2].metric is MetricKind.ACCURACY


def test_gates_on_labels_share_one_part_of_the_rollback_error() -> None:
    kinds = (MetricKind.ERRORS, MetricKind.RUNTIME, MetricKind.PRECISION, MetricKind.RECALL, MetricKind.RECALL)
    drafts = tuple(GateDraft(kind, f"g{number}", required=True) for number, kind in enumerate(kinds))
    policy, violations = complete_policy(PolicyDraft(gates=drafts), CHURN)
    assert not violations
    assert [gate.share for gate in policy.gates] == pytest.approx([0.4, 0.3, 0.1, 0.1, 0.1])
    assert [gate.positive for gate in policy.gates] == ["", "", "churns", "churns", "churns"]


@pytest.mark.parametrize(
    ("draft", "meaning", "told"),
    [
        (
            GateDraft(MetricKind.RECALL, required=True, positive="leaves"),
            CHURN,
            "'leaves' is no class .* stays, churns",
        ),
        (GateDraft(MetricKind.F1, required=True), Meaning("classification", ("a", "b")), "no positive class: .* a, b"),
        (GateDraft(MetricKind.F1, required=True), MANY, "up to 32 classes, and there are 33: use recall"),
        (GateDraft(MetricKind.F1, required=True), replace(CHURN, stable_classes=40), "there are 40: use recall"),
        (GateDraft(MetricKind.F1, required=True), WORDS, "up to 32 classes, and there are 1001: use accuracy"),
        (
            GateDraft(MetricKind.RECALL, required=True, positive="c7"),
            WORDS,
            "up to 1,000 classes, and there are 1,001: use accuracy",
        ),
        (GateDraft(MetricKind.F1, required=True), Meaning("regression"), "the model's task is regression"),
        (GateDraft(MetricKind.ERRORS, required=True, positive="a"), CHURN, "this gate watches errors"),
        (GateDraft(MetricKind.CLASS_BALANCE, required=True), Meaning("regression"), "the model's task is regression"),
        (GateDraft(MetricKind.CLASS_BALANCE, required=True), Meaning("classification", ()), "this one has none"),
        (GateDraft(MetricKind.RECALL, required=True, positive="*"), Meaning("classification", ()), "this one has none"),
        (GateDraft(MetricKind.CLASS_BALANCE, required=True), CENTURY, "up to 100 classes, and the model has 101"),
    ],
)
def test_classes_that_make_no_sense(draft: GateDraft, meaning: Meaning, told: str) -> None:
    _, violations = complete_policy(PolicyDraft(gates=(draft,)), meaning)
    assert [one.field for one in violations] == ["policy.gates[0].positive_class"]
    assert re.search(told, violations[0].description)


def test_every_class_can_be_judged() -> None:
    gates = (GateDraft(MetricKind.F1, required=True, positive="*"),)
    policy, violations = complete_policy(PolicyDraft(gates=gates), Meaning("classification", ("a", "b")))
    assert not violations
    assert policy.gates[0].positive == "*"


def test_recall_of_many_classes_can_be_judged() -> None:
    gates = (GateDraft(MetricKind.RECALL, required=True, positive="c7"),)
    assert not complete_policy(PolicyDraft(gates=gates), MANY)[1]


def test_an_f1_has_no_factor() -> None:
    gate = GateDraft(MetricKind.F1, required=True, harm=GateMargin(1.1), safe=GateMargin(1.2, 0.02))
    _, violations = complete_policy(PolicyDraft(gates=(gate,)), CHURN)
    assert [one.field for one in violations] == ["policy.gates[0].harm.factor", "policy.gates[0].safe.factor"]


def test_classes_that_are_not_known_are_not_checked() -> None:
    gates = (GateDraft(MetricKind.RECALL, required=True, positive="c7"), GateDraft(MetricKind.CLASS_BALANCE))
    for meaning in (Meaning(), Meaning("classification")):
        assert not complete_policy(PolicyDraft(gates=gates), meaning)[1]


def test_shadow_steps_come_first_and_their_shares_are_their_own() -> None:
    steps = (StepDraft(2000, shadow=True), StepDraft(5000, shadow=True), StepDraft(500), StepDraft(1000))
    plan, violations = complete_plan(PlanDraft(steps))
    assert not violations
    assert [step.shadow for step in plan.steps] == [True, True, False, False]
    _, falling = complete_plan(PlanDraft((StepDraft(5000, shadow=True), StepDraft(2000, shadow=True))))
    assert [one.field for one in falling] == ["plan.steps[1].share_bps"]


def test_an_ab_test_is_of_answers_that_callers_get() -> None:
    _, violations = complete_plan(PlanDraft((StepDraft(5000, shadow=True),)), Objective.SUPERIOR)
    assert [one.field for one in violations] == ["plan.steps"]


def test_disagreement_takes_a_limit() -> None:
    gates = (GateDraft(MetricKind.ERRORS, required=True), GateDraft(MetricKind.DISAGREEMENT))
    _, violations = complete_policy(PolicyDraft(gates=gates), CHURN)
    assert [one.field for one in violations] == ["policy.gates[1].limit"]
    gates = (gates[0], GateDraft(MetricKind.DISAGREEMENT, limit=Limit(at_most=0.05)))
    policy, violations = complete_policy(PolicyDraft(gates=gates), CHURN)
    assert not violations
    assert policy.gates[1].name == "disagreement limit"
