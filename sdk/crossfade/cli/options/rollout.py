"""How a rollout is to be done, from the options of `publish` and `start`."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from crossfade.cli.errors import UsageError
from crossfade.cli.options.policy import given_policy
from crossfade.common.v1.policy_pb2 import (
    ASSIGNMENT_KEY,
    ASSIGNMENT_REQUEST,
    MODE_SHADOW,
    OBJECTIVE_NON_INFERIOR,
    OBJECTIVE_SUPERIOR,
    Assignment,
    Objective,
    Step,
    TrafficPlan,
)
from crossfade.quantities import format_duration, parse_duration, parse_share, to_duration
from crossfade.registry.v1.resources_pb2 import Rollout
from crossfade.registry.v1.service_pb2 import RolloutSpec

_DEFAULT_SHARE = 500
_DEFAULT_PERIOD = 3_600

_Parsed = TypeVar("_Parsed")


def rollout_spec(
    plan: str,
    share: str,
    period: str,
    policy: str,
    assignment: str,
    *,
    objective: str = "",
    approval: bool = False,
) -> RolloutSpec:
    """The specification; what was not said is left to the Registry.

    Args:
        plan: `5%,25%,50%`, each with a period of its own if wanted: `5%:10m`; `shadow 20%` is a SHADOW step.
        share: `5%`, for a plan of one step.
        period: `1h`, of every step that has none of its own.
        policy: a policy file's path; its plan counts unless a plan is given, with the share and period that are given.
        assignment: `request` or `key`.
        objective: `non-inferior` or `superior`.
        approval: a person must agree before it is promoted.

    Raises:
        UsageError: an option or the file makes no sense.
    """
    spec = RolloutSpec(
        assignment=parse_assignment(assignment), objective=parse_objective(objective), approval_required=approval
    )
    if policy:
        file = given_policy(policy)
        spec.policy.CopyFrom(file.policy)
        spec.plan.CopyFrom(file.plan)
    if spec.plan.steps and not plan:
        _change(spec.plan, share, period)
    elif (given := _plan(plan, share, period)) is not None:
        spec.plan.CopyFrom(given)
    if not spec.plan.steps:
        spec.ClearField("plan")
    return spec


def _change(plan: TrafficPlan, share: str, period: str) -> None:
    """Sets a policy file's plan to what the options say otherwise."""
    if share and len(plan.steps) > 1:
        raise UsageError(f"--share says one share, and the policy's plan has {len(plan.steps)} steps: give --plan")
    for step in plan.steps:
        if share:
            step.share_bps = share_of(share, "--share")
        if period:
            step.period.CopyFrom(to_duration(seconds_of(period, "--period")))


def start_options(rollout: Rollout) -> list[str]:
    """Options of `crossfade start` that ask for a rollout like this one; none where the defaults would do."""
    steps = rollout.plan.steps
    shadow = any(step.mode == MODE_SHADOW for step in steps)
    options = ["--policy", "FILE"] if own_policy(rollout) else []
    options += ["--objective", "superior"] if rollout.objective == OBJECTIVE_SUPERIOR else []
    options += ["--assignment", "key"] if rollout.assignment == ASSIGNMENT_KEY else []
    options += ["--approval"] if rollout.HasField("approval") else []
    # A policy's file may have another plan than the one that was said beside it.
    if not steps or _of_a_file(steps) or (_default_steps(steps) and not own_policy(rollout)):
        return options
    written = [
        ("shadow " if step.mode == MODE_SHADOW else "")
        + f"{step.share_bps / 100:g}%:{format_duration(step.period.seconds + step.period.nanos / 1e9)}"
        for step in steps
    ]
    plan = ",".join(written)
    return [*options, "--plan", f'"{plan}"' if shadow else plan]


def own_policy(rollout: Rollout) -> bool:
    """Whether it was asked for with a policy file that says what no option says."""
    return rollout.policy.ByteSize() > 0 or _of_a_file(rollout.plan.steps)


def _default_steps(steps: Sequence[Step]) -> bool:
    said = [(one.share_bps, one.period.ToSeconds(), one.mode == MODE_SHADOW) for one in steps]
    return said == [(_DEFAULT_SHARE, _DEFAULT_PERIOD, False)]


def _of_a_file(steps: Sequence[Step]) -> bool:
    """Whether a step has a shortest duration, which --plan cannot say."""
    return any(step.min_duration.ToNanoseconds() for step in steps)


def _plan(plan: str, share: str, period: str) -> TrafficPlan | None:
    if plan and share:
        raise UsageError("--plan and --share both say the shares: give one of them")
    if not (plan or share or period):
        return None
    option = "--share" if share else "--plan"
    parts = [part.strip() for part in (plan or share or f"{_DEFAULT_SHARE / 100:g}%").split(",")]
    return TrafficPlan(steps=[_step(part, period, option) for part in parts])


def _step(part: str, period: str, option: str) -> Step:
    """A step, its share and its own period from `option`."""
    share, colon, own = part.removeprefix("shadow ").partition(":")
    step = Step(share_bps=share_of(share, option))
    if part.startswith("shadow "):
        step.mode = MODE_SHADOW
    if own:
        step.period.CopyFrom(to_duration(seconds_of(own, option)))
    elif period:
        step.period.CopyFrom(to_duration(seconds_of(period, "--period")))
    elif colon:
        raise UsageError(f"{option}: {part!r} has no period after the colon: write {share}:10m")
    return step


def parse_assignment(word: str) -> Assignment.ValueType:
    """How requests are given to the arms.

    Raises:
        UsageError: it is neither `request` nor `key`.
    """
    words = {"": Assignment.ASSIGNMENT_UNSPECIFIED, "request": ASSIGNMENT_REQUEST, "key": ASSIGNMENT_KEY}
    if word.lower() not in words:
        raise UsageError(f"--assignment {word!r} is neither request nor key")
    return words[word.lower()]


def parse_objective(word: str) -> Objective.ValueType:
    """What a version must show; nothing said: the Registry's default.

    Raises:
        UsageError: it is no objective.
    """
    words = {
        "": Objective.OBJECTIVE_UNSPECIFIED,
        "non-inferior": OBJECTIVE_NON_INFERIOR,
        "superior": OBJECTIVE_SUPERIOR,
    }
    said = word.lower().replace("_", "-")
    if said not in words:
        raise UsageError(f"--objective {word!r} is neither non-inferior nor superior")
    return words[said]


def wait_seconds(timeout: str, *, wait: bool) -> float | None:
    """Seconds of `--wait --timeout`; None: not to wait.

    Raises:
        UsageError: the timeout is no duration.
    """
    return seconds_of(timeout, "--timeout") if wait else None


def share_of(value: str, option: str) -> int:
    """Basis points of a share option.

    Raises:
        UsageError: it is no share.
    """
    return _parsed(parse_share, value, option)


def seconds_of(value: str, option: str) -> float:
    """Seconds of a duration option.

    Raises:
        UsageError: it is no duration.
    """
    return _parsed(parse_duration, value, option)


def _parsed(parse: Callable[[str], _Parsed], value: str, option: str) -> _Parsed:
    try:
        return parse(value)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
