"""Why a rollout ended as it did, or what a live one waits for: from the Registry's messages alone. Pure."""

import math
from typing import Final

from crossfade.cli import text
from crossfade.cli.render.gate_lines import gate_lines
from crossfade.cli.render.gate_words import (
    ALPHA_ROLLBACK,
    LABEL_METRICS,
    allowance,
    arms_sentence,
    difference,
    metric_of,
)
from crossfade.cli.render.gates import drift_details, drift_line, shadow_line
from crossfade.cli.render.next_step import next_line
from crossfade.cli.render.overdue import overdue
from crossfade.cli.render.status import step_elapsed, step_period, step_shadow, step_share
from crossfade.cli.render.style import LIVE_STATES, rollout_word
from crossfade.cli.render.wait_words import wait_words
from crossfade.common.v1.analysis_pb2 import VERDICT_FAIL, Analysis, GateReport, Summary
from crossfade.common.v1.policy_pb2 import METRIC_ERRORS, METRIC_INPUT_DRIFT, METRIC_RUNTIME
from crossfade.registry.v1.resources_pb2 import (
    ROLLOUT_STATE_INCONCLUSIVE,
    ROLLOUT_STATE_PAUSED,
    ROLLOUT_STATE_QUEUED,
    ROLLOUT_STATE_ROLLED_BACK,
    ROLLOUT_STATE_WAITING_READY,
    Rollout,
)

_TRACES: Final = 3
_PERSON: Final = "PERSON"
_TOO_LITTLE: Final = "TOO_LITTLE_EVIDENCE"
_NOT_BY_GATES: Final = {
    "LOAD_FAILED": "it could not be loaded",
    "CRASHED": "its process crashed",
    "NOT_READY": "no worker had it ready in time",
    "SUPERSEDED": "a newer version was published",
    _TOO_LITTLE: "there was too little evidence",
    "NO_WINNER": "it did not win",
    "NOT_SAFE": "in sum it was not safe",
    "SHADOW_PASSED": "it passed in shadow, and its plan has no LIVE step",
}


def explain(model: str, rollout: Rollout, analysis: Analysis | None, now: float, tries: str = "") -> str:
    """Explains a rollout.

    Args:
        model: the model's id.
        rollout: the rollout.
        analysis: a live rollout's latest look; None: none, or the rollout has ended.
        now: seconds since 1970.
        tries: what earlier rollouts of the version mean for this one; empty: nothing.
    """
    lines = _live(rollout, analysis, now) if rollout.state in LIVE_STATES else _ended(rollout)
    lines += [tries, next_line(model, rollout)]
    first, *rest = lines
    return "\n".join([first, *(f"  {line}" for line in rest if line)])


def _ended(rollout: Rollout) -> list[str]:
    outcome = rollout.outcome
    lines = [_ending(rollout)]
    reason = outcome.reason or rollout.note
    if outcome.code == _TOO_LITTLE:
        reason = wait_words(reason)
    deciding = next((gate for gate in outcome.summary.gates if gate.gate == outcome.gate), None)
    if deciding is None:
        lines += [f"Reason: {reason.rstrip('.')}."] if reason else []
        lines += [line for gate in _judged(outcome.summary, rollout) for line in gate_lines(gate, rollout)]
    else:
        lines += _deciding(deciding, rollout)
    if said := shadow_line(outcome.summary.shadow):
        lines.append(f"{said}.")
    lines.append(_calls(rollout, outcome.summary))
    if deciding is not None:
        lines += _others(deciding, rollout)
    if drift := drift_line(outcome.summary.drift, rollout.policy.drift_margin):
        lines += [f"{drift}.", *drift_details(outcome.summary.drift, rollout.policy.drift_margin)]
    if outcome.trace_ids:
        more = ", …" if len(outcome.trace_ids) > _TRACES else ""
        lines.append(f"Traces: {', '.join(outcome.trace_ids[:_TRACES])}{more}")
    return lines


def _ending(rollout: Rollout) -> str:
    verb = "ended" if rollout.state == ROLLOUT_STATE_INCONCLUSIVE else "was"
    line = f"Rollout {text.last_part(rollout.name)}: {rollout.version} {verb} {rollout_word(rollout.state)}"
    began = rollout.HasField("start_time")
    if rollout.HasField("end_time"):
        since = rollout.start_time if began else rollout.create_time
        after = text.span(text.unix(rollout.end_time) - text.unix(since))
        line += f" {after} after its start" if began else f" {after} after it was asked for, before it began"
    outcome = rollout.outcome
    if outcome.actor:
        line += f", by {_actor(outcome.actor)}"
    if outcome.gate:
        line += f", for {outcome.gate}"
    elif outcome.code in _NOT_BY_GATES:
        line += f": {_NOT_BY_GATES[outcome.code]}"
    return line + "."


def _actor(name: str) -> str:
    shown = text.actor(name)
    return f"the {shown}" if shown in {"evaluator", "registry"} else shown


def _deciding(gate: GateReport, rollout: Rollout) -> list[str]:
    metric = metric_of(rollout.policy, gate)
    stable = rollout.stable_version
    where = " of the same minutes" if metric in LABEL_METRICS else ""
    if metric == METRIC_RUNTIME and not gate.HasField("limit"):
        where = " with the same traffic"
    lines = [f"{arms_sentence(rollout.version, stable, gate, metric)}{where}."]
    found = difference(gate, metric)
    if found is not None:
        unit = "points" if found.unit == "pt" else found.unit
        interval = f" (95 % interval {found.interval})" if found.interval else ""
        allowed = allowance(rollout.policy, gate, metric)
        what = "The distance from the limit" if gate.HasField("limit") else "The difference"
        lines.append(
            f"{what} is {found.middle} {unit}{interval}" + (f"; the gate allows {allowed}." if allowed else ".")
        )
    if gate.verdict == VERDICT_FAIL:
        part = 100 * gate.harm.log_e / gate.harm.bar if gate.harm.bar > 0 else 0.0
        over = f" ({part:.0f} % of it)" if math.isfinite(part) and part > 0 else ""
        lines.append(f"The evidence of harm reached the bar that rolls it back{over}.")
    if rollout.state == ROLLOUT_STATE_ROLLED_BACK and rollout.outcome.code != _PERSON:
        alpha = rollout.policy.alpha_rollback or ALPHA_ROLLBACK
        good = "that keeps to it" if gate.HasField("limit") else f"as good as {stable}"
        lines.append(f"A version {good} would be rolled back wrongly in at most 1 of {1 / alpha:,.0f} rollouts.")
    return lines


def _calls(rollout: Rollout, summary: Summary) -> str:
    errors = next((one for one in summary.gates if metric_of(rollout.policy, one) == METRIC_ERRORS), None)
    if errors is None or not errors.test.n:
        return ""
    attempts = text.plural(errors.test.n, "attempt")
    if not errors.test.x:
        return f"Callers saw no failure of {rollout.version}: {attempts}, none failed."
    failed = f"{text.count(errors.test.x)} of {attempts} failed at {rollout.version}"
    return f"{failed}; those were tried again at {rollout.stable_version} where their deadlines left time."


def _others(deciding: GateReport, rollout: Rollout) -> list[str]:
    others = [gate for gate in _judged(rollout.outcome.summary, rollout) if gate.gate != deciding.gate]
    lines = [f"  {line}" for gate in others for line in gate_lines(gate, rollout)]
    return ["The other gates:", *lines] if lines else []


def _judged(summary: Summary, rollout: Rollout) -> list[GateReport]:
    return [gate for gate in summary.gates if metric_of(rollout.policy, gate) != METRIC_INPUT_DRIFT]


def _live(rollout: Rollout, analysis: Analysis | None, now: float) -> list[str]:
    number, state = text.last_part(rollout.name), rollout_word(rollout.state)
    if rollout.state == ROLLOUT_STATE_QUEUED:
        return [f"Rollout {number}: {rollout.version} is QUEUED.", rollout.note]
    if rollout.state == ROLLOUT_STATE_WAITING_READY:
        waits = f"It waits until a worker has {rollout.version} verified and warm; then its period begins."
        lines = [f"Rollout {number}: {rollout.version} is {state}.", rollout.note or waits]
        late = overdue(rollout, analysis, now)
        return [*lines, _said(late)] if late else lines
    share = text.share(rollout.effective_share_bps or step_share(rollout))
    elapsed = text.clock(step_elapsed(rollout, now) or 0.0)
    where = (
        f"in shadow, on copies of {text.share(step_share(rollout))} of the requests,"
        if step_shadow(rollout)
        else f"at {share}"
    )
    line = f"Rollout {number}: {rollout.version} is {state} {where} against {rollout.stable_version}, "
    if len(rollout.plan.steps) > 1:
        line += f"step {rollout.step + 1} of {len(rollout.plan.steps)}, "
    lines = [f"{line}{elapsed} of {text.clock(step_period(rollout))}."]
    if rollout.state == ROLLOUT_STATE_PAUSED:
        lines.append(f"Paused: {rollout.note or 'by a person'}")
    if late := overdue(rollout, analysis, now):
        lines.append(_said(late))
    if analysis is None:
        return [*lines, "The evaluator has not looked at it yet."]
    summary = analysis.summary
    lines += [line for gate in _judged(summary, rollout) for line in gate_lines(gate, rollout)]
    if drift := drift_line(summary.drift, rollout.policy.drift_margin):
        lines += [f"{drift}.", *drift_details(summary.drift, rollout.policy.drift_margin)]
    if said := shadow_line(summary.shadow):
        lines.append(f"{said}.")
    lines += [f"It holds: {hold.rstrip('.')}." for hold in summary.holds]
    if summary.reason:
        lines.append(f"At look {analysis.sequence}: {wait_words(summary.reason).rstrip('.')}.")
    return lines


def _said(part: str) -> str:
    return f"{part[0].upper()}{part[1:]}."
