"""Options beside a policy's file, and instead of it."""

from pathlib import Path

import pytest

from crossfade.cli.errors import UsageError
from crossfade.cli.options.rollout import rollout_spec, start_options
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.registry.v1.resources_pb2 import Rollout
from tests.unit.cli.samples import POLICY_FILE


def test_options_overrule_the_plan_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY_FILE)
    spec = rollout_spec("5%,25%:10m,50%", "", "1h", str(tmp_path / "p.yaml"), "key")
    assert [(step.share_bps, step.period.seconds) for step in spec.plan.steps] == [
        (500, 3600),
        (2_500, 600),
        (5_000, 3600),
    ]
    assert spec.assignment == policy.ASSIGNMENT_KEY
    assert len(spec.policy.gates) == 2


def test_a_period_or_a_share_alone_changes_the_plan_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(POLICY_FILE)
    steps = rollout_spec("", "", "10m", str(path), "").plan.steps
    assert [(step.share_bps, step.period.seconds, step.min_duration.seconds) for step in steps] == [
        (500, 600, 10),
        (5_000, 600, 0),
    ]
    with pytest.raises(UsageError, match="the policy's plan has 2 steps: give --plan"):
        rollout_spec("", "20%", "", str(path), "")
    path.write_text("plan: [{share: 5%, period: 2h}]\n")
    (step,) = rollout_spec("", "20%", "", str(path), "").plan.steps
    assert (step.share_bps, step.period.seconds) == (2_000, 7_200)
    with pytest.raises(UsageError, match=r"^--share: '5' has no %"):
        rollout_spec("", "5", "", str(path), "")
    with pytest.raises(UsageError, match=r"^--period: 'soon' is no duration"):
        rollout_spec("", "", "soon", str(path), "")


def test_a_rollout_like_another_is_started_by_its_options() -> None:
    assert start_options(Rollout(plan=rollout_spec("5%", "", "1h", "", "").plan)) == []
    for plan, assignment, objective in (("2.5%:90s,50%:1h30m", "key", "superior"), ("shadow 20%:1d", "", "")):
        spec = rollout_spec(plan, "", "", "", assignment, objective=objective)
        rollout = Rollout(plan=spec.plan, assignment=spec.assignment, objective=spec.objective)
        options = start_options(rollout)
        found = dict(zip(options[::2], options[1::2], strict=True))
        again = rollout_spec(
            found["--plan"].strip('"'),
            "",
            "",
            "",
            found.get("--assignment", ""),
            objective=found.get("--objective", ""),
        )
        assert again == spec


def test_without_options_everything_is_left_to_the_registry() -> None:
    spec = rollout_spec("", "", "", "", "")
    assert not spec.HasField("plan")
    assert not spec.HasField("policy")


@pytest.mark.parametrize(
    ("plan", "share", "period", "assignment"),
    [
        ("5%", "5%", "", ""),
        ("5%:", "", "", ""),
        ("5%,,", "", "", ""),
        ("", "x", "", ""),
        ("", "", "x", ""),
        ("", "", "", "x"),
    ],
)
def test_options_that_make_no_sense(plan: str, share: str, period: str, assignment: str) -> None:
    with pytest.raises(UsageError):
        rollout_spec(plan, share, period, "", assignment)


def test_what_the_version_must_show_is_an_option() -> None:
    assert rollout_spec("", "50%", "", "", "", objective="superior").objective == policy.OBJECTIVE_SUPERIOR
    assert rollout_spec("", "", "", "", "", objective="NON_INFERIOR").objective == policy.OBJECTIVE_NON_INFERIOR
    with pytest.raises(UsageError, match="neither non-inferior nor superior"):
        rollout_spec("", "", "", "", "", objective="best")
