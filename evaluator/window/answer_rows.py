"""What a window says of answers by their class: how many there were, and how many of them have a label."""

from collections.abc import Mapping
from typing import NamedTuple

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import FEEDBACK, PREDICTIONS, SliceKey, parse_slice


class Answered(NamedTuple):
    """Rows that were answered with a class, and those among them that have a label."""

    rows: int = 0
    labelled: int = 0


ByAnswer = Mapping[str, Answered]
"""By the predicted class."""
ArmsByAnswer = tuple[ByAnswer, ByAnswer]
"""Those of the test arm and of the stable arm."""
NO_ANSWERS: ArmsByAnswer = ({}, {})


def answered_slices(counted: ArmCounts) -> dict[SliceKey, ArmsByAnswer]:
    """Answers by slice, all processes together.

    Of a model with more than 32 classes labels are not counted by the predicted class, and none of its answers has one
    here.
    """
    found: dict[SliceKey, tuple[dict[str, Answered], dict[str, Answered]]] = {}
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(PREDICTIONS, FEEDBACK):
            key = parse_slice(at.get("slice", ""))
            if key is None or not (is_test or is_stable):
                continue
            arm = found.setdefault(key, ({}, {}))[0 if is_test else 1]
            if one.metric == PREDICTIONS:
                for name, rows in one.by_label.items():
                    _add(arm, name, rows=rows)
            elif predicted := at.get("predicted"):
                _add(arm, predicted, labelled=sum(one.counts))
    return dict(found)


def together(one: ArmsByAnswer, other: ArmsByAnswer) -> ArmsByAnswer:
    """The sum of both."""
    test, stable = dict(one[0]), dict(one[1])
    for arm, more in zip((test, stable), other, strict=True):
        for name, (rows, labelled) in more.items():
            _add(arm, name, rows, labelled)
    return test, stable


def _add(arm: dict[str, Answered], name: str, rows: int = 0, labelled: int = 0) -> None:
    if rows or labelled:
        before = arm.get(name, Answered())
        arm[name] = Answered(before.rows + rows, before.labelled + labelled)
