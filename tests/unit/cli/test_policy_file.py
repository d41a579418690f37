"""Policy files: what they say, and each kind of error with its line and field."""

import re
from pathlib import Path

import pytest

from crossfade.cli.actions.policy_check import file_field, violation_lines
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.evaluator.v1.evaluator_pb2 import Violation
from crossfade.policy_file import PolicyFileError, PolicyUnreadError, load_policy, parse_policy
from tests.unit.cli.samples import POLICY_FILE


def test_a_whole_file() -> None:
    file = parse_policy(POLICY_FILE)
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


def test_a_number_whose_default_is_zero_may_be_written_so() -> None:
    (gate,) = parse_policy("gates:\n- {metric: errors, weight: 0, harm: {factor: 1.1, offset: 0}}").policy.gates
    assert (gate.weight, gate.harm.offset) == (0.0, 0.0)


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
        ("power: 0", "policy.yaml:1: power: '0' would be taken for the default: leave the field out for that"),
        ("labels:\n  min_coverage: 0%", "policy.yaml:2: labels.min_coverage: '0%' would be taken for the default"),
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
        with pytest.raises(PolicyUnreadError, match=f"^{re.escape(str(tmp_path / name))} cannot be read: {why}"):
            load_policy(tmp_path / name)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    with pytest.raises(PolicyFileError, match=r"bytes.yaml is no text: not UTF-8 at byte 0"):
        load_policy(tmp_path / "bytes.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(PolicyFileError, match=r"large.yaml has more than 1,048,576 bytes"):
        load_policy(tmp_path / "large.yaml")


def test_violations_of_the_evaluator_get_their_lines() -> None:
    violations = [
        Violation(field="policy.gates[0].harm.offset", description="out of range"),
        Violation(field="policy.gates[1].harm.buckets", description="out of range"),
        Violation(field="plan.steps[1].share_bps", description="less than before"),
        Violation(field="policy.power", description="out of range"),
    ]
    assert violation_lines(parse_policy(POLICY_FILE, "p.yaml"), violations) == [
        "p.yaml:10: gates[0].harm.offset: out of range",
        "p.yaml:11: gates[1].harm.buckets: out of range",
        "p.yaml:5: plan[1].share_bps: less than before",
        "p.yaml:1: power: out of range",
    ]
    assert file_field("plan.steps[0].period") == "plan[0].period"


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


def test_two_numbers_of_one_limit_are_refused_with_their_line() -> None:
    with pytest.raises(PolicyFileError, match=r"policy.yaml:2: gates\[0\].limit.at_most: .*at_least"):
        parse_policy("gates:\n  - {metric: errors, limit: {at_least: 0.9, at_most: 0.1}}\n")


@pytest.mark.parametrize("text", ["[" * 50_000, "{" * 50_000, "- " * 50_000], ids=["lists", "mappings", "entries"])
def test_lists_within_lists_without_end_are_no_policy(text: str) -> None:
    with pytest.raises(PolicyFileError, match="without end"):
        parse_policy(text)
