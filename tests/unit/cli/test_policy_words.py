"""Policies as files say them: read again they are the same messages."""

import math
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossfade.common.v1 import policy_pb2 as policy
from crossfade.policy_file import parse_policy
from crossfade.policy_words import write_policy
from crossfade.quantities import to_duration
from tests.unit.cli.samples import POLICY_FILE

_LONGEST = 366 * 86_400

WRITTEN = """\
plan:
- {share: 5%, min_duration: 10s, period: 1h30m}
- {share: 50%}
gates:
- metric: errors
  required: true
  harm: {factor: 1.1, offset: 0.0005}
- metric: runtime
  safe: {buckets: 2}
look_interval: 2s
period_end: hold
labels: {min_coverage: 0.5}
"""

_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["*", "null", "~", "true", "1e3", "12:30", "- a", "a: b, {c}", "#x", "%a", 'sum by (version) (a{b="c"})\n']
)
_numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e-05, 0.05, 1.0, 1e22, 5e-324])
_durations = (
    st.integers(0, _LONGEST * 1_000).map(lambda milliseconds: to_duration(milliseconds / 1_000))
    | st.integers(0, _LONGEST).map(lambda seconds: Duration(seconds=seconds))
    | st.floats(0, _LONGEST).map(to_duration).filter(lambda one: one.nanos < 1_000_000_000)
)


def _plain(field: Any) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([one.number for one in field.enum_type.values if one.number])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_INT32:
        return st.integers(-999_999_999, 999_999_999)
    return _numbers if field.type == FieldDescriptor.TYPE_DOUBLE else _texts


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> Any:
    """Any message of a kind, a few of its fields set."""
    message = kind()
    fields = kind.DESCRIPTOR.fields
    chosen = draw(st.sets(st.sampled_from(range(len(fields))))) if fields else set()
    for field in (fields[number] for number in sorted(chosen)):
        _set(draw, message, field)
    return message


def _set(draw: st.DrawFn, message: Message, field: Any) -> None:
    if field.message_type is None:
        setattr(message, field.name, draw(_plain(field)))
    elif field.message_type.full_name == Duration.DESCRIPTOR.full_name:
        getattr(message, field.name).CopyFrom(draw(_durations))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(messages(policy.Gate), max_size=3)))
    else:
        part = getattr(message, field.name)
        part.SetInParent()
        part.CopyFrom(draw(messages(type(part))))


@st.composite
def steps(draw: st.DrawFn) -> policy.Step:
    """Any step, with a share, without which there is none."""
    step: policy.Step = draw(messages(policy.Step))
    step.share_bps = draw(st.integers(1, 10_000))
    return step


@example(policy.Policy(power=-0.0, settling=Duration(seconds=_LONGEST - 1, nanos=123_000_000)), [])
@settings(max_examples=150, derandomize=True)
@given(messages(policy.Policy), st.lists(steps(), max_size=3))
def test_what_is_written_is_read_as_the_same(said: policy.Policy, plan: list[policy.Step]) -> None:
    text = write_policy(said, policy.TrafficPlan(steps=plan))
    again = parse_policy(text)
    assert (again.policy, list(again.plan.steps)) == (said, plan), text


def test_it_is_written_in_the_words_of_files() -> None:
    file = parse_policy(POLICY_FILE)
    assert write_policy(file.policy, file.plan) == WRITTEN


def test_nothing_is_said_of_what_is_left_to_the_services() -> None:
    assert write_policy(policy.Policy(), policy.TrafficPlan()) == ""


@pytest.mark.parametrize(("points", "written"), [(1, "0.01%"), (250, "2.5%"), (9_999, "99.99%"), (10_000, "100%")])
def test_shares(points: int, written: str) -> None:
    plan = policy.TrafficPlan(steps=[policy.Step(share_bps=points)])
    assert write_policy(policy.Policy(), plan) == f"plan:\n- {{share: {written}}}\n"


def test_what_no_file_can_say_is_shown_all_the_same() -> None:
    """What a release after this one answers, or a test: it is for people then."""
    said = policy.Policy(look_interval=Duration(seconds=-1), settling=Duration(seconds=2 * _LONGEST), power=math.nan)
    said.gates.add().MergeFromString(b"\x10\x63")
    plan = policy.TrafficPlan(steps=[policy.Step(share_bps=0)])
    text = write_policy(said, plan)
    assert "- {share_bps: 0}" in text
    assert "- {metric: 99}" in text
