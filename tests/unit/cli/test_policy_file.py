"""Policy files: what they say, and each kind of error with its line and field."""

import datetime as dt
from pathlib import Path

import pytest

from crossfade.cli.actions.policy_check import file_field, violation_lines
from crossfade.cli.errors import UsageError
from crossfade.cli.options.rollout import rollout_spec, start_options, wait_seconds
from crossfade.cli.when import parse_when
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.evaluator.v1.evaluator_pb2 import Violation
from crossfade.policy_file import PolicyFileError, PolicyUnreadError, load_policy, parse_policy
from crossfade.quantities import format_duration, parse_duration, parse_rate, parse_share, to_duration
from crossfade.registry.v1.resources_pb2 import Rollout

FILE = """\
plan:
  - share: 5%
    min_duration: 10s
    period: 1h30m
  - share_bps: 5000
look_interval: 2s
gates:
  - metric: errors
    required: true
    harm: {factor: 1.1, offset: 0.05%}
  - metric: METRIC_RUNTIME
    safe: {buckets: 2}
period_end: hold
labels: {min_coverage: 0.5}
"""


def test_a_whole_file() -> None:
    file = parse_policy(FILE)
    first, second = file.plan.steps
    assert (first.share_bps, first.min_duration.seconds, first.period.seconds) == (500, 10, 5_400)
    assert second.share_bps == 5_000
    assert not second.HasField("period")
    errors, runtime = file.policy.gates
    assert (errors.metric, errors.required, errors.harm.factor) == (policy.METRIC_ERRORS, True, 1.1)
    assert errors.harm.offset == pytest.approx(0.0005)
    assert (runtime.metric, runtime.safe.buckets) == (policy.METRIC_RUNTIME, 2)
    assert file.policy.look_interval.seconds == 2
    assert file.policy.period_end == policy.PERIOD_END_HOLD
    assert file.policy.labels.min_coverage == 0.5


def test_an_empty_file_leaves_everything_to_the_defaults() -> None:
    file = parse_policy("# nothing\n")
    assert file.policy == policy.Policy()
    assert not file.plan.steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan: 5", "policy.yaml:1: plan: must be a list, each entry on a line that begins with '-'"),
        ("plan:\n  - period: 1h", "policy.yaml:2: plan[0]: the step has no share: write share: 5%"),
        ("plan:\n- share: 5", "policy.yaml:2: plan[0].share: '5' has no %: write share: 5%, or share_bps: 500"),
        ("plan:\n- share: 101%", "policy.yaml:2: plan[0].share: '101%' is out of range"),
        ("plan:\n- share: 5%\n  share_bps: 5", "policy.yaml:3: plan[0].share_bps: share and share_bps are one field"),
        ("gates:\n- metric: speed", "policy.yaml:2: gates[0].metric: 'speed' is none of errors, runtime, accuracy"),
        ("gates:\n- metric: errors\n  harmm: 1", "policy.yaml:3: gates[0].harmm: unknown field; did you mean harm?"),
        ("gates:\n- required: maybe", "policy.yaml:2: gates[0].required: 'maybe' is neither true nor false"),
        ("gates:\n- safe: {buckets: 1.5}", "policy.yaml:2: gates[0].safe.buckets: '1.5' is no whole number"),
        ("gates:\n- weight: [1]", "policy.yaml:2: gates[0].weight: must be one value, not a list or a mapping"),
        ("gates: {}", "policy.yaml:1: gates: must be a list"),
        ("look_interval: 3 parsecs", "policy.yaml:1: look_interval: '3 parsecs' is no duration: write 30s, 5m"),
        ("power: high", "policy.yaml:1: power: 'high' is no number: write 0.01, or 1%"),
        ("power: .nan", "policy.yaml:1: power: '.nan' is no number"),
        ("power: 0.9\npower: 0.8", "policy.yaml:2: power: occurs twice"),
        ("settling:", "policy.yaml:1: settling: has no value: write one, or leave the field out"),
        ("labels: 5", "policy.yaml:1: labels: must be a mapping with some of: min_coverage"),
        ("- 1", "policy.yaml:1: must be a mapping with some of: plan, gates"),
        ("a: [", "policy.yaml:1: no YAML: "),
        ("speed: 1", "policy.yaml:1: speed: unknown field; known here: plan, gates"),
        ("a: &a [*a]", "policy.yaml:1: a: unknown field"),
    ],
)
def test_each_kind_of_error(text: str, message: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(text)
    assert str(caught.value).startswith(message)


def test_all_problems_are_told_at_once_in_the_order_of_lines() -> None:
    with pytest.raises(PolicyFileError) as caught:
        parse_policy("power: x\ngates:\n- metric: y\nalpha_promote: z\n")
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4]
    assert len(str(caught.value).splitlines()) == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name, why in (("none.yaml", "No such file"), ("", "Is a directory")):
        with pytest.raises(PolicyUnreadError, match=f"it cannot be read: {why}"):
            load_policy(tmp_path / name)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    with pytest.raises(PolicyFileError, match="it is not UTF-8"):
        load_policy(tmp_path / "bytes.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(PolicyFileError, match="more than"):
        load_policy(tmp_path / "large.yaml")


def test_violations_of_the_evaluator_get_their_lines() -> None:
    violations = [
        Violation(field="policy.gates[0].harm.offset", description="out of range"),
        Violation(field="policy.gates[1].harm.buckets", description="out of range"),
        Violation(field="plan.steps[1].share_bps", description="less than before"),
        Violation(field="policy.power", description="out of range"),
    ]
    assert violation_lines(parse_policy(FILE, "p.yaml"), violations) == [
        "p.yaml:10: gates[0].harm.offset: out of range",
        "p.yaml:11: gates[1].harm.buckets: out of range",
        "p.yaml:5: plan[1].share_bps: less than before",
        "p.yaml:1: power: out of range",
    ]
    assert file_field("plan.steps[0].period") == "plan[0].period"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("2 d", 172_800),
        ("0", 0),
        ("0.0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "5x", "-5s", "1e9d", "nan", "inf", "1:30", "5s3", "400d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration|is out of range"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["30", "1.5", " 7 "])
def test_a_duration_has_a_unit(text: str) -> None:
    with pytest.raises(ValueError, match=rf"has no unit: write {text.strip()}s for seconds, {text.strip()}m for"):
        parse_duration(text)


def test_a_duration_without_a_unit_is_refused_in_a_file_and_in_an_option() -> None:
    with pytest.raises(PolicyFileError, match=r"p\.yaml:1: plan\[0\]\.period: '30' has no unit: write 30s"):
        parse_policy("plan: [{share: 5%, period: 30}]\n", "p.yaml")
    with pytest.raises(UsageError, match="the plan: '30' has no unit"):
        rollout_spec("5%,25%:30", "", "", "", "")
    with pytest.raises(UsageError, match="the plan: '30' has no unit"):
        rollout_spec("", "", "30", "", "")
    with pytest.raises(UsageError, match="--timeout: '5' has no unit"):
        wait_seconds("5", wait=True)


@pytest.mark.parametrize("value", ["14", "2", "30", " 7 "])
def test_a_number_alone_is_no_moment(value: str) -> None:
    now = dt.datetime(2026, 11, 24, 15, tzinfo=dt.UTC)
    with pytest.raises(UsageError, match=r"--since: .* is no moment: write 2026-11-24 14:00, 14:00 \(today\) or 2h"):
        parse_when(value, "--since", now)
    assert parse_when("20261123", "--since", now).date() == dt.date(2026, 11, 23)
    assert parse_when("2h", "--since", now).hour == 13


def test_a_duration_keeps_its_fraction() -> None:
    assert (to_duration(1.5).seconds, to_duration(1.5).nanos) == (1, 500_000_000)


@pytest.mark.parametrize(("text", "points"), [("5%", 500), ("2.5 %", 250), ("0.01%", 1), ("100%", 10_000)])
def test_shares(text: str, points: int) -> None:
    assert parse_share(text) == points


@pytest.mark.parametrize("text", ["", "%", "0%", "0", "101%", "10001", "-5%", "0.001%", "1e-9%", "1.5", "five", "1e2"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no share|has no %|is out of range|is too fine"):
        parse_share(text)


def test_a_share_alone_is_neither_per_cent_nor_basis_points() -> None:
    for text in ("5", "50", "500"):
        with pytest.raises(UsageError, match=f"the plan: '{text}' has no %: write 5%, or 0.05% for 5 basis points"):
            rollout_spec("", text, "", "", "")
    (step,) = parse_policy("plan: [{share_bps: 500}]\n", "p.yaml").plan.steps
    assert step.share_bps == 500
    for text in ("0", "10001", "-5", "1.5"):
        with pytest.raises(PolicyFileError, match="is no number of basis points: write 500 for 5 %, 10000 at most"):
            parse_policy(f"plan: [{{share_bps: {text}}}]\n", "p.yaml")


def test_rates() -> None:
    assert [parse_rate("0.01"), parse_rate("1%"), parse_rate("1e-3")] == pytest.approx([0.01, 0.01, 0.001])
    with pytest.raises(ValueError, match="is no number"):
        parse_rate("1,5")


def test_options_overrule_the_plan_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(FILE)
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
    path.write_text(FILE)
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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0015, "0.002s"),
        (0.5, "0.5s"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (2_678_400, "31d"),
        (90_061.5, "1d1h1m1.5s"),
    ],
)
def test_durations_are_written_as_they_are_read(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == pytest.approx(seconds, abs=6e-4)


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


def test_a_limit_and_an_ab_test_are_written_as_people_say_them() -> None:
    text = """
gates:
  - {metric: runtime, required: true, limit: {duration: 20ms, quantile: 0.99}}
  - {metric: recall, limit: {at_least: 90%}}
  - {metric: accuracy, primary: true, better: {offset: 1%}}
labels: {judge_young: true}
"""
    found = parse_policy(text).policy
    assert (found.gates[0].limit.duration.nanos, found.gates[0].limit.quantile) == (20_000_000, 0.99)
    assert found.gates[1].limit.WhichOneof("bound") == "at_least"
    assert found.gates[1].limit.at_least == pytest.approx(0.9)
    assert found.gates[2].primary
    assert found.gates[2].better.offset == pytest.approx(0.01)
    assert found.labels.judge_young


def test_what_the_version_must_show_is_an_option() -> None:
    assert rollout_spec("", "50%", "", "", "", objective="superior").objective == policy.OBJECTIVE_SUPERIOR
    assert rollout_spec("", "", "", "", "", objective="NON_INFERIOR").objective == policy.OBJECTIVE_NON_INFERIOR
    with pytest.raises(UsageError, match="neither non-inferior nor superior"):
        rollout_spec("", "", "", "", "", objective="best")


def test_two_numbers_of_one_limit_are_refused_with_their_line() -> None:
    with pytest.raises(PolicyFileError, match=r"policy.yaml:2: gates\[0\].limit.at_most: .*at_least"):
        parse_policy("gates:\n  - {metric: errors, limit: {at_least: 0.9, at_most: 0.1}}\n")
