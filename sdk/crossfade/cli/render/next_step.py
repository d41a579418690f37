"""What to do after a look at a rollout: the command that comes next, and never the plan that has just failed. Pure."""

import math
from typing import Final

from crossfade.cli import text
from crossfade.cli.hints import lane_command
from crossfade.cli.options.rollout import own_policy, start_options
from crossfade.cli.render.gate_lines import lacked
from crossfade.cli.render.gate_words import LABEL_METRICS, metric_of
from crossfade.cli.render.status import step_period, step_shadow, step_share
from crossfade.cli.render.style import LIVE_STATES
from crossfade.cli.render.wait_words import wait_words
from crossfade.common.v1.analysis_pb2 import VERDICT_PASS, GateReport
from crossfade.common.v1.policy_pb2 import ASSIGNMENT_KEY
from crossfade.quantities import format_duration, to_duration
from crossfade.registry.v1.resources_pb2 import (
    ROLLOUT_STATE_CANCELLED,
    ROLLOUT_STATE_INCONCLUSIVE,
    ROLLOUT_STATE_PROMOTED,
    Rollout,
)

_POLICY: Final = " (FILE: its policy was one of its own, and is given again)"
_THIN: Final = frozenset({"TOO_LITTLE_EVIDENCE", "NO_WINNER"})
"""Outcomes of a period that was too short or of a share that was too small."""
_NOT_SAFE: Final = "NOT_SAFE"
"""A version that was found to be worse after all, though never at three looks together."""
_ROOM: Final = 1.3
_HALF_BPS: Final = 5_000
_LONGEST: Final = 366 * 86_400.0
_SETTLING, _LOOK = 30.0, 30.0
"""A policy's settling and look_interval, by default."""


def next_line(model: str, rollout: Rollout) -> str:
    """`Next: …`."""
    show = f"Next: crossfade versions show {model} {rollout.version}"
    match rollout.state:
        case value if value in LIVE_STATES:
            return f"Next: crossfade status {model} -w"
        case value if value == ROLLOUT_STATE_PROMOTED:
            return f"Next: crossfade status {model}"
        case value if value == ROLLOUT_STATE_INCONCLUSIVE and rollout.outcome.code == _NOT_SAFE:
            # More of the same would end in the same way.
            return show
        case value if value in (ROLLOUT_STATE_INCONCLUSIVE, ROLLOUT_STATE_CANCELLED):
            return f"{show}, or {_again(model, rollout)}"
        case _:
            return show


def _again(model: str, rollout: Rollout) -> str:
    code, inconclusive = rollout.outcome.code, rollout.state == ROLLOUT_STATE_INCONCLUSIVE
    if inconclusive and code == "SHADOW_PASSED":
        live = Rollout()
        live.CopyFrom(rollout)
        live.ClearField("plan")
        # A policy's file may have the plan that has just passed.
        plan = ["--plan", text.share(step_share(rollout)).replace(" ", "")]
        return f"start it live: {_start(model, live, [*start_options(live), *plan])}"
    if inconclusive and code in _THIN:
        return _with_more(model, rollout)
    return f"try again: {_start(model, rollout, start_options(rollout))}"


def _with_more(model: str, rollout: Rollout) -> str:
    """The same plan again would end as it did: a period and a share that would do, or how to find them."""
    summary = rollout.outcome.summary
    if summary.holds:
        return f"once that is mended, try again: {_start(model, rollout, start_options(rollout))}"
    waiting = [gate for gate in summary.gates if gate.required and gate.verdict != VERDICT_PASS]
    more = [lacked(gate) for gate in waiting]
    if not more or not all(more):
        return _without_forecast(model, rollout, waiting)
    elapsed = max(step_period(rollout), summary.circumstances.elapsed_seconds)
    whole = elapsed + max(more)
    period = text.whole_units(_ROOM * whole)
    if period > _LONGEST:
        late = waiting[more.index(max(more))].gate
        return f"change the share or the margins (safe) of {late}: no period is long enough at that traffic"
    share = _larger(rollout, waiting, whole)
    also = f"; with the same period --share {share} would do" if share else ""
    return f"try again for as long as it takes at that traffic: {_start_longer(model, rollout, period)}{also}"


def _without_forecast(model: str, rollout: Rollout, waiting: list[GateReport]) -> str:
    late = next((gate for gate in waiting if gate.waits_for and not lacked(gate)), None)
    why = f" ({late.gate} waited for {wait_words(late.waits_for)})" if late is not None else ""
    if rollout.assignment == ASSIGNMENT_KEY:
        # Nothing is forecast by key before a start.
        longer = _start_longer(model, rollout, text.whole_units(2.0 * step_period(rollout)))
        return f"try again for twice as long{why}: {longer}"
    words = ["forecast", model, "--version", rollout.version]
    words += [one for one in start_options(rollout) if one != "--approval"]
    ask = lane_command(" ".join(words), rollout.segment) + _POLICY * own_policy(rollout)
    return f"see what the plan must be, since the same one would end the same way{why}: {ask}"


def _start_longer(model: str, rollout: Rollout, period: float) -> str:
    options = start_options(_longer(rollout, period))
    # The plan of a policy's file is not said again.
    options += [] if "--plan" in options else ["--period", format_duration(period)]
    return _start(model, rollout, options)


def _longer(rollout: Rollout, period: float) -> Rollout:
    """The rollout with a longer period of the step that it ended in."""
    asked = Rollout()
    asked.CopyFrom(rollout)
    if not asked.plan.steps:
        asked.plan.steps.add(share_bps=step_share(rollout))
    asked.plan.steps[min(rollout.step, len(asked.plan.steps) - 1)].period.CopyFrom(to_duration(period))
    return asked


def _larger(rollout: Rollout, waiting: list[GateReport], whole: float) -> str:
    """A share with which the same period would have done, as `--share` takes it; empty: none is known.

    Labels do not age sooner with it, and it is said of a plan of one step.
    """
    if len(rollout.plan.steps) > 1 or step_shadow(rollout) or rollout.assignment == ASSIGNMENT_KEY:
        return ""
    if any(metric_of(rollout.policy, gate) in LABEL_METRICS for gate in waiting):
        return ""
    policy = rollout.policy
    settling = text.duration_seconds(policy.settling) if policy.HasField("settling") else _SETTLING
    look = text.duration_seconds(policy.look_interval) if policy.HasField("look_interval") else _LOOK
    judged = step_period(rollout) - settling - look
    if judged <= 0:
        return ""
    share = math.ceil(_ROOM * step_share(rollout) * (whole - settling - look) / judged / 100) * 100
    return text.share(share).replace(" ", "") if share <= _HALF_BPS else ""


def _start(model: str, rollout: Rollout, options: list[str]) -> str:
    words = " ".join(["start", model, rollout.version, *options])
    return lane_command(words, rollout.segment) + _POLICY * own_policy(rollout)
