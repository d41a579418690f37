"""What requests about monitors must look like; every refusal names the field."""

from collections.abc import Sequence
from typing import Final

from google.protobuf import field_mask_pb2

from crossfade.quantities import format_duration
from crossfade.registry.v1 import resources_pb2
from registry import converters
from registry.domain.monitors import DEFAULT_LEARN, SETTINGS, Alert, MonitorSettings
from registry.servicer import validation
from registry.servicer.policy_validation import refuse

_SHORTEST: Final = 1.0
_LONGEST: Final = 90 * 86_400.0
_MOST_ALERTS: Final = 100


def settings(field: str, message: resources_pb2.MonitorSettings) -> MonitorSettings:
    """How a lane is to be watched.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    learn = converters.seconds_of(message.learn) if message.HasField("learn") else DEFAULT_LEARN
    if not _SHORTEST <= learn <= _LONGEST:
        raise refuse(f"{field}.learn", f"is {format_duration(learn)}; use 1s to {format_duration(_LONGEST)}")
    return MonitorSettings(message.off, message.undo, learn)


def update_paths(mask: field_mask_pb2.FieldMask) -> frozenset[str]:
    """Which settings are to be changed.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    paths = frozenset(mask.paths)
    unknown = sorted(paths - {*SETTINGS, "*"})
    if unknown:
        raise refuse("update_mask", f"names {', '.join(unknown)}; settings are {', '.join(SETTINGS)}")
    return paths if paths and "*" not in paths else frozenset(SETTINGS)


def sequence(field: str, value: int) -> int:
    """The number of a look."""
    if value < 1:
        raise refuse(field, f"is {value}; the first look is 1, and each is one more")
    return value


def alerts(field: str, messages: Sequence[resources_pb2.Alert], look: int) -> tuple[Alert, ...]:
    """What stands out at a look, at most one alert per gate."""
    if len(messages) > _MOST_ALERTS:
        raise refuse(field, f"has {len(messages)} entries; at most {_MOST_ALERTS} are taken")
    seen: set[str] = set()
    found: list[Alert] = []
    for number, message in enumerate(messages):
        if not message.gate or message.gate in seen:
            raise refuse(f"{field}[{number}].gate", f"{message.gate!r} is empty or there twice; one alert per gate")
        seen.add(message.gate)
        if not message.reason:
            raise refuse(f"{field}[{number}].reason", "is required: one sentence")
        found.append(
            Alert(
                validation.reason(f"{field}[{number}].gate", message.gate, look),
                validation.reason(f"{field}[{number}].reason", message.reason, look),
                0.0,
            )
        )
    return tuple(found)
