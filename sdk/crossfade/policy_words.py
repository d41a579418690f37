"""Writes policies as the files that `policy_file` reads: `share: 20%`, `metric: errors`, `period: 5m`. Pure."""

from typing import Any, Final

import yaml
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from crossfade.common.v1.policy_pb2 import Policy, Step, TrafficPlan
from crossfade.enum_names import enum_name
from crossfade.quantities import format_duration, parse_duration, to_duration

_WIDTH: Final = 100
_WHOLE: Final = 10_000
_EXACT: Final = 2.0**53


def write_policy(policy: Policy, plan: TrafficPlan) -> str:
    """A policy file's text; reading it gives the same messages, of those that a file can say.

    Args:
        policy: the policy; what it leaves to the services is left out.
        plan: the traffic plan; without steps it is left out.
    """
    document = {"plan": [_step(step) for step in plan.steps]} if plan.steps else {}
    document |= _message(policy)
    if not document:
        return ""
    # Messages without messages of their own in them take one line: `- {share: 5%, period: 1h}`.
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=None)


def _step(step: Step) -> dict[str, Any]:
    fields = _message(step)
    points = fields.pop("share_bps", 0)
    # What is no share is left as it is, for the reader to refuse.
    share = {"share": f"{points / 100:g}%"} if 0 < points <= _WHOLE else {"share_bps": points}
    return share | fields


def _message(message: Message) -> dict[str, Any]:
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: Any, value: Any) -> Any:
    if isinstance(value, Duration):
        return _duration(value)
    if field.is_repeated:
        return [_message(one) for one in value]
    if field.message_type is not None:
        return _message(value)
    if field.enum_type is not None:
        return _word(field.enum_type, value)
    # 1 for 1.0; a zero keeps its sign.
    return int(value) if isinstance(value, float) and value.is_integer() and 0 < abs(value) < _EXACT else value


def _word(kind: Any, number: int) -> str | int:
    """`errors` for METRIC_ERRORS; what this release does not know stays a number."""
    return enum_name(kind, number).lower() if number in kind.values_by_number else number


def _duration(value: Duration) -> str:
    """`1h30m`; in seconds alone where that would not be the same to the nanosecond."""
    text = format_duration(value.seconds + value.nanos / 1e9)
    try:
        same = to_duration(parse_duration(text)) == value
    except ValueError:
        same = False
    if same or value.seconds < 0 or value.nanos < 0:
        return text
    return f"{value.seconds}.{value.nanos:09}".rstrip("0").rstrip(".") + "s"
