"""Policies and plans over the wire: nothing that was asked for is lost on the way, and nothing is made up."""

from dataclasses import fields, replace

import pytest

from crossfade.common.v1 import policy_pb2
from services.common.policy import messages
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import (
    Gate,
    GateMargin,
    LabelMaturity,
    Limit,
    Need,
    PeriodEnd,
    Plan,
    Policy,
    Step,
)

GATE = Gate(
    name="checkouts",
    metric=MetricKind.CUSTOM,
    need=Need.ALWAYS,
    harm=GateMargin(1.25, 0.125, 3),
    safe=GateMargin(1.5, 0.25, 4),
    share=0.75,
    positive="7",
    better=GateMargin(1.75, 0.375, 5),
    above=15.0,
    bad_query="bad",
    total_query="all",
    segment="eu",
)
POLICY = Policy(
    gates=(GATE,),
    look_interval=2.5,
    settling=3.5,
    alpha_rollback=0.125,
    alpha_promote=0.25,
    period_end=PeriodEnd.HOLD,
    power=0.875,
    labels=LabelMaturity(0.625, 90.5, 0.375, follows_lag=False, judge_young=True),
    drift_margin=0.0625,
    stale_after=45.5,
    fresh_instances=0.75,
)


def test_every_number_of_a_policy_comes_back_as_it_was_said() -> None:
    draft = messages.policy_draft(messages.policy_message(POLICY))
    assert draft == PolicyDraft(
        gates=(
            GateDraft(
                MetricKind.CUSTOM,
                "checkouts",
                required=True,
                harm=GATE.harm,
                safe=GATE.safe,
                weight=0.75,
                positive="7",
                primary=True,
                better=GATE.better,
                above=15.0,
                bad_query="bad",
                total_query="all",
                segment="eu",
            ),
        ),
        look_interval=2.5,
        settling=3.5,
        alpha_rollback=0.125,
        alpha_promote=0.25,
        period_end=PeriodEnd.HOLD,
        power=0.875,
        min_coverage=0.625,
        min_age=90.5,
        max_coverage_gap=0.375,
        judge_young=True,
        drift_margin=0.0625,
        stale_after=45.5,
        fresh_instances=0.75,
    )
    # Each of them is another than its default, so that none could have been left out.
    for record, default in ((draft, PolicyDraft()), (draft.gates[0], GateDraft(None))):
        same = [one.name for one in fields(record) if getattr(record, one.name) == getattr(default, one.name)]
        assert same in ([], ["limit"])


def test_what_was_not_said_is_not_said_by_a_message_either() -> None:
    assert messages.policy_draft(policy_pb2.Policy()) == PolicyDraft()
    gate = policy_pb2.Policy(gates=[policy_pb2.Gate(metric=policy_pb2.METRIC_ERRORS)])
    assert messages.policy_draft(gate).gates == (GateDraft(MetricKind.ERRORS),)
    assert messages.plan_draft(policy_pb2.TrafficPlan()) == PlanDraft()
    step = policy_pb2.TrafficPlan(steps=[policy_pb2.Step(share_bps=500)])
    assert messages.plan_draft(step).steps == (StepDraft(500),)


def test_a_time_of_zero_is_said_and_no_default() -> None:
    zero = replace(POLICY, settling=0.0, labels=replace(POLICY.labels, min_age=0.0))
    draft = messages.policy_draft(messages.policy_message(zero))
    assert (draft.settling, draft.min_age) == (0.0, 0.0)


def test_an_age_that_follows_the_labels_is_not_said_to_have_been_asked_for() -> None:
    follows = replace(POLICY, labels=replace(POLICY.labels, follows_lag=True))
    assert messages.policy_draft(messages.policy_message(follows)).min_age is None


@pytest.mark.parametrize(
    "limit", [Limit(at_least=0.75), Limit(at_most=0.25), Limit(seconds=0.5), Limit(seconds=0.5, quantile=0.75)]
)
def test_a_gate_with_a_limit_says_it_and_no_margins(limit: Limit) -> None:
    limited = replace(POLICY, gates=(replace(GATE, limit=limit, better=None, need=Need.NEVER),))
    (gate,) = messages.policy_draft(messages.policy_message(limited)).gates
    assert (gate.limit, gate.harm, gate.safe) == (limit, None, None)
    assert (gate.required, gate.primary, gate.better) == (False, False, None)


def test_a_limit_of_nothing_is_one_all_the_same() -> None:
    assert messages.limit_message(Limit()) == policy_pb2.Limit()
    asked = policy_pb2.Policy(gates=[policy_pb2.Gate(metric=policy_pb2.METRIC_ERRORS, limit=policy_pb2.Limit())])
    assert messages.policy_draft(asked).gates[0].limit == Limit()


def test_a_factor_that_was_not_said_is_one() -> None:
    margin = policy_pb2.Gate(harm=policy_pb2.Margin(offset=0.25))
    assert messages.policy_draft(policy_pb2.Policy(gates=[margin])).gates[0].harm == GateMargin(1.0, 0.25)


def test_a_gate_that_is_required_once_there_are_labels_is_said_to_be_required() -> None:
    for need, required in ((Need.ALWAYS, True), (Need.WITH_LABELS, True), (Need.NEVER, False)):
        message = messages.policy_message(replace(POLICY, gates=(replace(GATE, need=need),)))
        assert message.gates[0].required is required


def test_every_step_of_a_plan_comes_back_as_it_was_said() -> None:
    plan = Plan((Step(2_000, 1.5, 60.5, shadow=True), Step(500, 0.0, 90.0)))
    assert messages.plan_draft(messages.plan_message(plan)).steps == (
        StepDraft(2_000, 1.5, 60.5, shadow=True),
        StepDraft(500, 0.0, 90.0),
    )


def test_every_metric_and_end_of_a_period_comes_back_as_it_was_said() -> None:
    for metric in MetricKind:
        message = messages.policy_message(replace(POLICY, gates=(replace(GATE, metric=metric),)))
        assert messages.policy_draft(message).gates[0].metric is metric
    for end in PeriodEnd:
        message = messages.policy_message(replace(POLICY, period_end=end))
        assert messages.policy_draft(message).period_end is end


def test_what_a_later_release_says_is_named_by_its_path() -> None:
    policy = messages.policy_message(POLICY)
    plan = messages.plan_message(Plan((Step(500), Step(1_000, shadow=True))))
    assert messages.unknown_fields(policy, plan) == ()
    policy.gates.append(policy_pb2.Gate(metric=policy_pb2.Metric.ValueType(99)))
    policy.period_end = policy_pb2.PeriodEnd.ValueType(99)
    plan.steps[1].mode = policy_pb2.Mode.ValueType(99)
    assert messages.unknown_fields(policy, plan) == (
        "policy.gates[1].metric",
        "policy.period_end",
        "plan.steps[1].mode",
    )
