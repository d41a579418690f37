"""How a rollout is to be done, from the options of `publish` and `start`."""

from crossfade.cli.errors import UsageError
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
from crossfade.policy_file import PolicyFileError, load_policy
from crossfade.quantities import parse_duration, parse_share, to_duration
from crossfade.registry.v1.service_pb2 import RolloutSpec

_DEFAULT_SHARE = 500


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
        policy: a policy file's path; its plan counts unless a plan, share or period is given.
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
        try:
            file = load_policy(policy)
        except PolicyFileError as error:
            raise UsageError(str(error)) from error
        spec.policy.CopyFrom(file.policy)
        spec.plan.CopyFrom(file.plan)
    given = _plan(plan, share, period)
    if given is not None:
        spec.plan.CopyFrom(given)
    if not spec.plan.steps:
        spec.ClearField("plan")
    return spec


def _plan(plan: str, share: str, period: str) -> TrafficPlan | None:
    if plan and share:
        raise UsageError("--plan and --share both say the shares: give one of them")
    if not (plan or share or period):
        return None
    parts = [part.strip() for part in (plan or share or f"{_DEFAULT_SHARE}").split(",")]
    return TrafficPlan(steps=[_step(part, period) for part in parts])


def _step(part: str, period: str) -> Step:
    share, colon, own = part.removeprefix("shadow ").partition(":")
    try:
        step = Step(share_bps=parse_share(share))
        if part.startswith("shadow "):
            step.mode = MODE_SHADOW
        if own or period:
            step.period.CopyFrom(to_duration(parse_duration(own or period)))
        elif colon:
            raise ValueError(f"{part!r} has no period after the colon: write {share}:10m")
    except ValueError as error:
        raise UsageError(f"the plan: {error}") from error
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


def seconds_of(value: str, option: str) -> float:
    """Seconds of a duration option.

    Raises:
        UsageError: it is no duration.
    """
    try:
        return parse_duration(value)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
