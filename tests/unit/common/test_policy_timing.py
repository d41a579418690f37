"""Policies and plans whose times contradict one another."""

import pytest

from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning, PeriodEnd, Violation
from services.common.policy.timing import at_look, check_times, judged_from, rounded, written

ERRORS = GateDraft(MetricKind.ERRORS, required=True)
ACCURACY = GateDraft(MetricKind.ACCURACY, required=True)


def checked(policy: PolicyDraft, *periods: float | None, shadow: bool = False) -> list[Violation]:
    steps = tuple(StepDraft(500, period=period, shadow=shadow) for period in periods)
    plan, wrong_plan = complete_plan(PlanDraft(steps))
    made, wrong = complete_policy(policy, Meaning("classification"))
    assert not (wrong or wrong_plan)
    return list(check_times(made, plan))


def test_a_step_that_is_over_before_its_split_has_settled_is_refused() -> None:
    (found,) = checked(PolicyDraft((ERRORS,), settling=3 * 3600.0), 7_200.0)
    assert found.field == "plan.steps[0].period"
    assert found.description == (
        "the step's period is 2h and settling 3h, and nothing is judged before a split has settled: write a period of "
        "4h or more, or have a policy with a shorter settling"
    )


def test_the_defaults_count_too() -> None:
    (found,) = checked(PolicyDraft(), 3600.0, 10.0)
    assert found.field == "plan.steps[1].period"
    assert "the step's period is 10s and settling 30s" in found.description
    assert "write a period of 2m or more" in found.description
    assert not checked(PolicyDraft(), 31.0)


def test_a_step_that_is_over_before_anybody_looks_is_refused() -> None:
    (found,) = checked(PolicyDraft((ERRORS,), look_interval=3600.0), 600.0)
    assert found.field == "plan.steps[0].period"
    assert "look_interval 1h, and the first look may come after its end: write a period of 4h or more" in (
        found.description
    )
    (short,) = checked(PolicyDraft((ERRORS,), look_interval=30.0, settling=0.0), 15.0)
    assert "write a period of 2m or more, or have a policy with a shorter look_interval" in short.description
    assert not checked(PolicyDraft((ERRORS,), look_interval=15.0, settling=0.0), 15.0)


def test_without_a_plan_the_policys_own_field_is_wrong() -> None:
    assert [one.field for one in checked(PolicyDraft(settling=3600.0))] == ["policy.settling"]
    assert [one.field for one in checked(PolicyDraft(look_interval=3601.0))] == ["policy.look_interval"]


def test_labels_that_are_never_old_enough_are_refused_where_they_are_required() -> None:
    draft = PolicyDraft((ERRORS, ACCURACY), min_age=7_200.0)
    (found,) = checked(draft, 1_800.0, 1_800.0)
    assert found.field == "policy.labels.min_age"
    assert found.description == (
        "labels count once they are 2h old, and a step's period is 30m, so that accuracy can never be shown in it: "
        "write a shorter labels.min_age or a period of 4h or more, or do not require accuracy"
    )
    assert not checked(draft, 7_201.0)
    # A lane may get no labels, a gate may only be watched, and copies have none.
    assert not checked(PolicyDraft(min_age=7_200.0), 1_800.0)
    assert not checked(PolicyDraft((ERRORS, GateDraft(MetricKind.ACCURACY)), min_age=7_200.0), 1_800.0)
    assert not checked(draft, 1_800.0, shadow=True)


def test_where_a_step_goes_on_after_its_period_it_is_judged_then() -> None:
    draft = PolicyDraft((ERRORS, ACCURACY), settling=60.0, min_age=90.0, period_end=PeriodEnd.HOLD)
    assert not checked(draft, 30.0)


@pytest.mark.parametrize(
    ("look", "settling", "first"),
    [(30.0, 30.0, 60.0), (30.0, 0.0, 60.0), (30.0, 31.0, 60.0), (30.0, 45.0, 90.0), (2.0, 60.0, 62.0)],
)
def test_when_the_first_look_is_judged(look: float, settling: float, first: float) -> None:
    policy, _ = complete_policy(PolicyDraft(look_interval=look, settling=settling), Meaning("other"))
    assert judged_from(policy) + look == at_look(policy, 0.0) == first
    assert at_look(policy, first + look / 2) == first + look
    assert at_look(policy, 0.0, 3) == first + 2 * look


def test_durations_are_written_as_policies_write_them() -> None:
    assert [written(one) for one in (0.25, 45.0, 150.0, 5_400.0, 86_400.0)] == ["0.25s", "45s", "2m30s", "1h30m", "1d"]
    assert [rounded(one) for one in (0.25, 45.5, 150.0, 8_000.0)] == [0.25, 46.0, 180.0, 10_800.0]
