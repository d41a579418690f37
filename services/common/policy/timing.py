"""When a step's looks are judged, and what a policy and a plan ask of them that can never be."""

import math
from typing import Final

from services.common.policy.metrics import LABEL_METRICS, MetricKind, shown_in
from services.common.policy.records import Need, PeriodEnd, Plan, Policy, Step, Violation

AGREEING_LOOKS: Final = 3
"""Looks that must agree on harm at least."""
_EARLY: Final = 0.1
"""Part of a look interval by which a split may be younger than it is to settle."""
_UNITS: Final = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0))
_AGED: Final = LABEL_METRICS | {MetricKind.PAIRED_ACCURACY}
"""What waits until labels are old enough."""


def judged_from(policy: Policy) -> float:
    """Seconds from a step's begin to the look from which on counts are judged, at the latest.

    The first look at a split comes within one interval, and notes it; from there it settles. What a look judges was
    counted since the look before, so that settling for any shorter time than an interval is settling for one.
    """
    interval = policy.look_interval
    return interval * max(1.0, math.ceil(policy.settling / interval - _EARLY))


def at_look(policy: Policy, seconds: float, agreeing: int = 1) -> float:
    """Seconds from a step's begin to the judged look that comes no earlier than `seconds`.

    Args:
        policy: how often it is looked, and how long a split settles.
        seconds: since the step's begin; infinity: never.
        agreeing: the least number of judged looks.
    """
    if math.isinf(seconds):
        return seconds
    first = judged_from(policy) + agreeing * policy.look_interval
    return max(first, policy.look_interval * math.ceil(seconds / policy.look_interval - _EARLY))


def least_period(policy: Policy) -> float:
    """Seconds of a step in which as many looks are judged as must agree on harm."""
    return at_look(policy, 0.0, AGREEING_LOOKS)


def check_times(policy: Policy, plan: Plan) -> tuple[Violation, ...]:
    """What is wrong with a policy's times beside the plan's periods: steps that are over before anything is judged.

    Where a step goes on after its period (HOLD), it is judged then.

    Args:
        policy: with no violations of its own.
        plan: with none either.
    """
    if policy.period_end is PeriodEnd.HOLD:
        return ()
    found = []
    for number, step in enumerate(plan.steps):
        late = "settling" if step.period <= policy.settling else "look_interval"
        if late == "settling" or step.period < policy.look_interval:
            # A plan that nobody gave has no field that could be changed.
            field = f"policy.{late}" if plan == Plan() else f"plan.steps[{number}].period"
            found.append(Violation(field, _over(step, late, policy)))
    return (*found, *_label_violations(policy, plan))


def _over(step: Step, late: str, policy: Policy) -> str:
    seconds, why = {
        "settling": (policy.settling, "nothing is judged before a split has settled"),
        "look_interval": (policy.look_interval, "the first look may come after its end"),
    }[late]
    least = written(rounded(least_period(policy)))
    return (
        f"the step's period is {written(step.period)} and {late} {written(seconds)}, and {why}: write a period of "
        f"{least} or more, or have a policy with a shorter {late}"
    )


def _label_violations(policy: Policy, plan: Plan) -> list[Violation]:
    age = policy.labels.min_age
    found = []
    for step in plan.steps:
        waiting = [
            gate.name
            for gate in policy.gates
            if gate.metric in _AGED and gate.need is Need.ALWAYS and shown_in(gate.metric, shadow=step.shadow)
        ]
        if waiting and step.period <= age:
            found.append(
                Violation(
                    "policy.labels.min_age",
                    f"labels count once they are {written(age)} old, and a step's period is {written(step.period)}, so "
                    f"that {waiting[0]} can never be shown in it: write a shorter labels.min_age or a period of "
                    f"{written(rounded(2.0 * age))} or more, or do not require {waiting[0]}",
                )
            )
    return found[:1]


def rounded(seconds: float) -> float:
    """A duration that is easily written, no shorter than this one."""
    size = next((size for _, size in _UNITS if seconds >= 2.0 * size), 1.0)
    return size * math.ceil(seconds / size) if seconds >= 1.0 else seconds


def written(seconds: float) -> str:
    """A duration as policies write it, to the millisecond: `45s`, `2m30s`, `3h`."""
    left, parts = round(1000.0 * seconds), ""
    for unit, size in _UNITS:
        number, left = divmod(left, round(1000.0 * size))
        parts += f"{number}{unit}" if number else ""
    return parts + f"{left / 1000:g}s" if left or not parts else parts
