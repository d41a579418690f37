"""Fields of requests, as the options of commands that say them. Pure."""

import re
from typing import Final

_STEP: Final = re.compile(r"\A(?:rollout\.)?plan\.steps\[(\d+)\]\.(share|period|mode|min_duration)(?:_bps)?\b")
_FIRST: Final = (
    (re.compile(r"\A(?:rollout\.)?plan\.steps\b"), "--plan"),
    (re.compile(r"\A(?:rollout\.)?policy\.(\S+?)(?=:? )"), r"--policy: \1"),
    (re.compile(r"\Arollout\.(objective|assignment)\b"), r"--\1"),
    (re.compile(r"\Aharms\[\d+\](?:\.\w+)?"), "--drop"),
    (re.compile(r"\Atypes\[\d+\]"), "--type"),
    (re.compile(r"\Asettings\.learn\b"), "--learn"),
    (re.compile(r"\Aend_time is not after start_time\b"), "--until is not after --since"),
    (re.compile(r"\Astart_time(?= is )"), "--since"),
    (re.compile(r"\Aend_time(?= is )"), "--until"),
    (re.compile(r"\Aread_time(?= is )"), "--at"),
    (re.compile(r"\A(watch|reason|ttl|before)(?=: | has | is )"), r"--\1"),
    (re.compile(r"\Aversion\.description\b"), "--description"),
    (re.compile(r"\Aversion\.artifact\.uri\b"), "--uri"),
    (re.compile(r"\Amodel\.description\b"), "TEXT"),
    (re.compile(r"\Arollout says how"), "--plan, --policy, --approval and their like say how"),
)
"""What a message begins with that speaks of one field."""
_ANYWHERE: Final = re.compile(
    r"\b(?:allow_incompatible|cancel_rollout|request_id|without_rollout|(?<=repeat with )force)\b"
)
_ACTIONS: Final = (
    ("promote, roll back or cancel that", "promote, rollback or abort it"),
    ("cancel that, then withdraw it", "abort that, then withdraw it"),
    ("cancel that to start it in another way", "abort that to start it in another way"),
    ("is live; cancel it, or repeat", "is live; abort it, or repeat"),
    ("so it is not possible to cancel it;", "so it is not possible to abort it;"),
)
"""What a message tells to do, and the commands that do it."""
_POSSIBLE: Final = re.compile(r"(?<=possible now: )[a-z ,]+")
_COMMANDS: Final = {"roll back": "rollback", "cancel": "abort"}
_NO_COMMAND: Final = "end as inconclusive"


def in_options(message: str) -> str:
    """A service's message, with the options of commands for the fields of requests."""
    message = _STEP.sub(lambda found: f"--plan, step {int(found[1]) + 1}: {found[2]}", message)
    for pattern, option in _FIRST:
        message = pattern.sub(option, message)
    for said, command in _ACTIONS:
        message = message.replace(said, command)
    message = _POSSIBLE.sub(_commands, message)
    return _ANYWHERE.sub(lambda found: f"--{found[0].replace('_', '-')}", message)


def _commands(possible: re.Match[str]) -> str:
    actions = (one for one in possible[0].split(", ") if one != _NO_COMMAND)
    return ", ".join(_COMMANDS.get(one, one) for one in actions)
