"""What of a policy and a plan can be shown at all: by the step's mode, by key, and by what is required."""

from dataclasses import replace

import pytest

from services.common.policy.defaults import check_together, complete_plan, complete_policy
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind, judged_by_key, shown_in
from services.common.policy.records import (
    Limit,
    Meaning,
    Need,
    Objective,
    PeriodEnd,
    Plan,
    Policy,
    Step,
)

CHURN = Meaning("classification", ("stays", "churns"), "churns")
ONLY_LIVE = {
    MetricKind.ACCURACY,
    MetricKind.PRECISION,
    MetricKind.RECALL,
    MetricKind.FALSE_POSITIVE_RATE,
    MetricKind.F1,
    MetricKind.ABSOLUTE_ERROR,
    MetricKind.VALUE,
    MetricKind.CUSTOM,
}
ONLY_SHADOW = {MetricKind.DISAGREEMENT, MetricKind.PAIRED_ACCURACY}


@pytest.mark.parametrize("metric", MetricKind)
def test_labels_are_of_live_steps_and_pairs_of_shadow_ones(metric: MetricKind) -> None:
    assert shown_in(metric, shadow=True) is (metric not in ONLY_LIVE)
    assert shown_in(metric, shadow=False) is (metric not in ONLY_SHADOW)


@pytest.mark.parametrize("metric", MetricKind)
def test_by_key_errors_accuracy_and_numbers_above_nothing_are_judged_of_all_callers(metric: MetricKind) -> None:
    judged = metric in {MetricKind.ERRORS, MetricKind.ACCURACY, MetricKind.VALUE}
    assert judged_by_key(metric) is judged
    assert judged_by_key(metric, 15.0) is (judged and metric is not MetricKind.VALUE)
    assert not judged_by_key(metric, segment="eu")


def test_a_limit_allows_what_it_says_or_what_it_leaves() -> None:
    assert Limit(at_most=0.25).bad_rate() == 0.25
    assert Limit(at_least=0.75).bad_rate() == 0.25
    with pytest.raises(ValueError, match="a limit in seconds is no rate"):
        Limit(seconds=1.0).bad_rate()


def test_a_plan_has_what_was_asked_for_and_else_its_defaults() -> None:
    plan, violations = complete_plan(PlanDraft((StepDraft(2_000, 1.0, 60.0, shadow=True), StepDraft(500))))
    assert not violations
    assert plan == Plan((Step(2_000, 1.0, 60.0, shadow=True), Step(500, 0.0, 3_600.0)))


def test_one_shadow_step_among_others_makes_no_ab_test() -> None:
    steps = (StepDraft(500, shadow=True), StepDraft(500))
    _, violations = complete_plan(PlanDraft(steps), Objective.SUPERIOR)
    assert [one.description.split(":")[0] for one in violations] == [
        "are 2",
        "an A/B test (SUPERIOR) is of answers that callers get",
    ]


def test_a_policy_has_what_was_asked_for() -> None:
    draft = PolicyDraft(
        gates=(GateDraft(MetricKind.ACCURACY, primary=True),), period_end=PeriodEnd.HOLD, min_age=5.0, judge_young=True
    )
    policy, violations = complete_policy(draft, Meaning(), Objective.SUPERIOR)
    assert not violations
    assert (policy.period_end, policy.objective) == (PeriodEnd.HOLD, Objective.SUPERIOR)
    assert (policy.labels.min_age, policy.labels.follows_lag, policy.labels.judge_young) == (5.0, False, True)
    default, _ = complete_policy(PolicyDraft(), CHURN)
    assert (default.objective, default.labels.follows_lag, default.labels.judge_young) == (
        Objective.NON_INFERIOR,
        True,
        False,
    )


def test_of_an_unknown_task_gates_that_were_asked_for_need_a_primary_one() -> None:
    draft = PolicyDraft(gates=(GateDraft(MetricKind.ERRORS, required=True),))
    _, violations = complete_policy(draft, Meaning(), Objective.SUPERIOR)
    assert [one.field for one in violations] == ["policy.gates"]


def test_by_key_what_cannot_be_judged_is_watched_and_may_not_be_required() -> None:
    gates = (GateDraft(MetricKind.ERRORS, required=True), GateDraft(MetricKind.RUNTIME, required=True))
    policy, violations = complete_policy(PolicyDraft(gates=gates), CHURN, sticky=True)
    assert [one.field for one in violations] == ["policy.gates[1]"]
    assert [gate.need for gate in policy.gates] == [Need.ALWAYS, Need.NEVER]
    default, violations = complete_policy(PolicyDraft(), CHURN, sticky=True)
    assert not violations
    assert [(gate.name, gate.need) for gate in default.gates] == [
        ("errors", Need.ALWAYS),
        ("runtime", Need.NEVER),
        ("accuracy", Need.WITH_LABELS),
        ("input_drift", Need.NEVER),
    ]


def policy_of(*gates: GateDraft) -> Policy:
    policy, violations = complete_policy(PolicyDraft(gates=gates), CHURN)
    assert not violations
    return policy


LIVE, SHADOW = Step(500), Step(500, shadow=True)
ERRORS = GateDraft(MetricKind.ERRORS, required=True)
PAIRED = GateDraft(MetricKind.PAIRED_ACCURACY, required=True)


@pytest.mark.parametrize(
    ("gates", "steps", "fields"),
    [
        ((ERRORS,), (LIVE,), []),
        ((ERRORS, PAIRED), (SHADOW, LIVE), []),
        ((ERRORS, PAIRED), (LIVE,), ["policy.gates[1].metric"]),
        ((PAIRED,), (SHADOW,), []),
        ((PAIRED,), (SHADOW, LIVE), ["policy.gates"]),
        ((PAIRED,), (LIVE,), ["policy.gates[0].metric", "policy.gates"]),
    ],
)
def test_every_mode_of_a_plan_has_a_gate_that_it_can_show(
    gates: tuple[GateDraft, ...], steps: tuple[Step, ...], fields: list[str]
) -> None:
    assert [one.field for one in check_together(policy_of(*gates), Plan(steps))] == fields


def test_a_policy_that_requires_nothing_is_not_told_so_twice() -> None:
    policy = policy_of(ERRORS)
    watched = replace(policy, gates=tuple(replace(gate, need=Need.NEVER) for gate in policy.gates))
    assert check_together(watched, Plan()) == ()


@pytest.mark.parametrize(("share", "enough"), [(49, False), (50, True), (9_950, True), (9_951, False)])
def test_by_key_each_arm_has_half_a_percent_at_least(share: int, enough: bool) -> None:
    policy, plan = policy_of(ERRORS), Plan((Step(500), Step(share)))
    found = [one.field for one in check_together(policy, plan, sticky=True)]
    assert found == ([] if enough else ["plan.steps[1].share_bps"])
    assert check_together(policy, plan) == ()
