"""Which state has which word and colour. Pure."""

from collections.abc import Mapping
from typing import Final

from rich.text import Text

from crossfade.enum_names import enum_name
from crossfade.registry.v1.resources_pb2 import RolloutState, Serving, ServingState, VersionState

_COLOURS: Final[Mapping[str, str]] = {
    "STABLE": "green",
    "PROMOTED": "green",
    "READY": "green",
    "TESTING": "cyan",
    "RUNNING": "cyan",
    "PENDING": "yellow",
    "QUEUED": "yellow",
    "WAITING READY": "yellow",
    "LOADING": "yellow",
    "PAUSED": "yellow",
    "INCONCLUSIVE": "yellow",
    "FAILED": "red",
    "ROLLED BACK": "red",
}

LIVE_STATES: Final = frozenset(
    {
        RolloutState.ROLLOUT_STATE_QUEUED,
        RolloutState.ROLLOUT_STATE_WAITING_READY,
        RolloutState.ROLLOUT_STATE_RUNNING,
        RolloutState.ROLLOUT_STATE_PAUSED,
    }
)
"""States of a rollout that has not ended."""


def word(text: str) -> Text:
    """A state's word in its colour."""
    return Text(text, _COLOURS.get(text, ""))


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def version_word(state: VersionState.ValueType) -> str:
    """`STABLE`."""
    return _spaced(enum_name(VersionState.DESCRIPTOR, state))


def rollout_word(state: RolloutState.ValueType) -> str:
    """`ROLLED BACK`."""
    return _spaced(enum_name(RolloutState.DESCRIPTOR, state))


def serving_word(state: ServingState.ValueType) -> str:
    """`READY`."""
    return _spaced(enum_name(ServingState.DESCRIPTOR, state))


def trouble(serving: Serving) -> str:
    """What a Worker says against a version: why it failed, or what is in the way of its loading."""
    return f"{serving.error_code or 'in the way'}: {serving.error}"
