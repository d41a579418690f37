"""How much a policy and a plan may say, and what of it can be shown.

It is looked at first, since all else takes time with each of them; and only when something is asked for, so that what
an older release has stored goes on.
"""

from collections.abc import Collection, Iterable
from typing import Final

from crossfade.common.v1 import policy_pb2
from crossfade.name_checks import LABEL_LIMIT
from services.common.policy.records import Violation
from services.common.text import control_character, shown

STEPS_LIMIT: Final = 100
"""Of a plan."""
GATES_LIMIT: Final = 100
"""Of a policy; and harms that a forecast is asked for."""
NAME_LIMIT: Final = 63
"""Characters of a gate's name."""
CLASSES_BYTES: Final = 1024 * 1024
"""Of all the names of a version's classes together: a signature has no more."""
_SEGMENT_LIMIT: Final = 63
_CLASS_LEAST_BYTES: Final = 3
"""That a class takes in a message: its tag, its length and a character."""


def size_violations(policy: policy_pb2.Policy, plan: policy_pb2.TrafficPlan) -> tuple[Violation, ...]:
    """What of a policy and a plan is too much, or cannot be shown. Where something is, nothing else is to be looked at.

    Args:
        policy: as it was asked for.
        plan: as it was asked for.
    """
    found = [
        *_too_many("plan.steps", len(plan.steps), STEPS_LIMIT, "steps"),
        *_too_many("policy.gates", len(policy.gates), GATES_LIMIT, "gates"),
    ]
    if found:
        return tuple(found)
    for number, gate in enumerate(policy.gates):
        path = f"policy.gates[{number}]"
        found += _too_long(f"{path}.name", gate.name, NAME_LIMIT)
        found += _unprintable(f"{path}.name", gate.name)
        found += _too_long(f"{path}.positive_class", gate.positive_class, LABEL_LIMIT)
        found += _unprintable(f"{path}.positive_class", gate.positive_class)
        found += _too_long(f"{path}.segment", gate.segment, _SEGMENT_LIMIT)
        for name, query in (("bad_query", gate.bad_query), ("total_query", gate.total_query)):
            if control := control_character(query, lines=True):
                found.append(Violation(f"{path}.{name}", f"has the control character {control}: leave it out"))
    return tuple(found)


def class_violations(classes: Collection[str], positive: str) -> tuple[Violation, ...]:
    """What of a version's classes is too much.

    Args:
        classes: their names.
        positive: the positive class's.
    """
    # So many are too much however short they are, and are not looked at one by one.
    many = len(classes) * _CLASS_LEAST_BYTES > CLASSES_BYTES
    if many or sum(len(name.encode()) for name in classes) > CLASSES_BYTES:
        return (Violation("classes", f"take more than {CLASSES_BYTES:,} bytes, and so no version has them"),)
    return tuple(_too_long("positive_class", positive, LABEL_LIMIT))


def harm_violations(number: int, gates: Iterable[str]) -> tuple[Violation, ...]:
    """What of the harms that a forecast is asked for is too much, or is asked twice.

    Args:
        number: of harms.
        gates: the name of each one's gate; not read where they are too many.
    """
    if too_many := _too_many("harms", number, GATES_LIMIT, "harms"):
        return tuple(too_many)
    found: list[Violation] = []
    known: set[str] = set()
    for place, gate in enumerate(gates):
        field = f"harms[{place}].gate"
        found += _too_long(field, gate, NAME_LIMIT)
        if gate in known:
            found.append(Violation(field, f"{shown(gate)} has a harm already: ask about one of each gate at a time"))
        known.add(gate)
    return tuple(found)


def _too_many(field: str, number: int, most: int, what: str) -> list[Violation]:
    return [Violation(field, f"has {number:,} {what}; at most {most} are taken")] if number > most else []


def _unprintable(field: str, text: str) -> list[Violation]:
    said = f"is {shown(text)}: use printable characters alone, for it is shown in terminals"
    return [] if text.isprintable() else [Violation(field, said)]


def _too_long(field: str, text: str, most: int) -> list[Violation]:
    said = f"has {len(text):,} characters; at most {most:,} are taken"
    return [Violation(field, said)] if len(text) > most else []
