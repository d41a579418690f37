"""What `crossfade status` draws: lanes, shares, figures, and the live rollout with its gates. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from crossfade import event_words
from crossfade.cli import text
from crossfade.cli.hints import lane_command
from crossfade.cli.render.gates import drift_line, gates_table, shadow_line, waiting_lines
from crossfade.cli.render.label_figures import Measure, label_figures, measures
from crossfade.cli.render.monitor import alert_lines
from crossfade.cli.render.overdue import overdue
from crossfade.cli.render.style import LIVE_STATES, rollout_word, trouble, version_word, word
from crossfade.cli.render.traffic import VersionFigures
from crossfade.cli.render.views import LaneView, ModelView
from crossfade.cli.render.wait_words import wait_words
from crossfade.common.v1.analysis_pb2 import Analysis, Summary
from crossfade.common.v1.model_pb2 import TRAFFIC_LIVE
from crossfade.common.v1.policy_pb2 import MODE_SHADOW
from crossfade.names import parse_rollout
from crossfade.registry.v1.resources_pb2 import (
    PAUSE_REASON_INPUT_DRIFT,
    ROLLOUT_STATE_PAUSED,
    ROLLOUT_STATE_QUEUED,
    ROLLOUT_STATE_RUNNING,
    ROLLOUT_STATE_WAITING_READY,
    SERVING_STATE_FAILED,
    SERVING_STATE_READY,
    VERSION_STATE_STABLE,
    VERSION_STATE_TESTING,
    Event,
    Instance,
    Lane,
    LaneVersion,
    Rollout,
)

_BAR_WIDTH: Final = 20
_OTHERS: Final = 5
_INDENT: Final = 5
_WHOLE: Final = 10_000
_MANY_ERRORS: Final = 0.01
_NO_REASON: Final = "No reason was given."
"""What the Registry keeps as the reason of what a person did without one."""


MOST_MODELS: Final = 50
"""Models that are all shown; of more, those with a rollout alone, and no more than these."""


def render_models(views: Sequence[ModelView], more: str = "") -> Text:
    """All models, one after the other, and what is said of those that are left out."""
    if not views and not more:
        return Text("no models yet: crossfade publish MODEL DIR publishes the first version of one")
    blocks = [render_model(view) for view in views]
    if more:
        blocks.append(Text(more))
    return Text("\n\n").join(blocks)


def left_out(models: int, any_more: bool) -> str:
    """What is said of models that are not shown.

    Args:
        models: how many.
        any_more: there may be rollouts among them.
    """
    if not models:
        return ""
    which = text.plural(models, "model") + ("" if any_more else " without a rollout")
    be, them = ("is", "it") if models == 1 else ("are", "them")
    return f"{which} {be} left out: crossfade models lists {them}, crossfade status MODEL shows one"


def render_model(view: ModelView) -> Text:
    """One model with all its lanes."""
    lines: list[Text] = []
    for lane in view.lanes:
        if lines:
            lines.append(Text())
        lines.append(_heading(view, lane))
        lines.extend(render_lane(lane, view.workers, text.last_part(view.model.name), view.now))
    if not view.lanes:
        model = text.last_part(view.model.name)
        lines.append(Text(f"{model} has no version yet: crossfade publish {model} DIR publishes the first"))
    lines.extend(Text(f" note: {warning}", "yellow") for warning in view.warnings)
    return text.join(lines)


def render_lane(view: LaneView, workers: Sequence[Instance], model: str, now: float) -> list[Text]:
    """The versions of a lane, and under the tested one its rollout.

    Args:
        view: the lane.
        workers: Workers, for what they say of each version.
        model: the model's id.
        now: seconds since 1970.
    """
    live = view.rollout if view.rollout and view.rollout.state in LIVE_STATES else None
    split = split_of(view.lane, live)
    shown = _shown(view.lane, split)
    if not shown:
        return [Text(" no version yet")]
    rows = [_version_row(one, split, view, workers, model, now) for one in shown]
    lines = text.columns(rows, right=(2,), indent=1)
    at = next((number for number, one in enumerate(shown, 1) if live and one.version == live.version), len(lines))
    lines[at:at] = _rollout_lines(view, live, now)
    if more := len(view.lane.versions) - len(shown):
        lines.append(Text(f" … and {more} more: crossfade versions {model}", "dim"))
    if view.undone:
        lines.append(_undone_line(view.undone, now))
    return lines + (alert_lines(view.monitor.alerts, now) if view.monitor else [])


def split_of(lane: Lane, live: Rollout | None) -> dict[str, int]:
    """Basis points in force per version; control's share is part of stable's."""
    if not lane.stable_version:
        return {}
    if live is None or live.state not in (ROLLOUT_STATE_RUNNING, ROLLOUT_STATE_PAUSED):
        return {lane.stable_version: _WHOLE}
    return {lane.stable_version: _WHOLE - live.effective_share_bps, live.version: live.effective_share_bps}


def rollout_line(rollout: Rollout, now: float) -> Text:
    """`rollout 7 · 5 % · step 1 of 3 · RUNNING 4:12 of 1:00:00`."""
    wanted = step_share(rollout)
    share = text.share(rollout.effective_share_bps if rollout.effective_share_bps else wanted)
    if 0 < rollout.effective_share_bps != wanted:
        share += f" of {text.share(wanted)} wanted: too few workers are ready"
    if step_shadow(rollout):
        share = f"shadow {text.share(wanted)}"
    line = Text(f"rollout {text.last_part(rollout.name)} · {share} · ")
    if len(rollout.plan.steps) > 1:
        line.append(f"step {rollout.step + 1} of {len(rollout.plan.steps)} · ")
    line.append_text(word(rollout_word(rollout.state)))
    elapsed = step_elapsed(rollout, now)
    if elapsed is not None:
        line.append(f" {text.clock(elapsed)} of {text.clock(step_period(rollout))}")
    return line


def step_elapsed(rollout: Rollout, now: float) -> float | None:
    """Seconds that the plan's clock has run in this step; None: it has not begun."""
    if not rollout.HasField("step_start_time"):
        return None
    stands = now - text.unix(rollout.pause_time) if rollout.HasField("pause_time") else 0.0
    paused = text.duration_seconds(rollout.step_paused) + max(stands, 0.0)
    return max(now - text.unix(rollout.step_start_time) - paused, 0.0)


def step_period(rollout: Rollout) -> float:
    """Seconds that the present step may take; the contract's default is an hour."""
    steps = rollout.plan.steps
    period = text.duration_seconds(steps[rollout.step].period) if rollout.step < len(steps) else 0.0
    return period or 3_600.0


def step_share(rollout: Rollout) -> int:
    """Basis points that the present step wants; the contract's default is 5 %."""
    steps = rollout.plan.steps
    return steps[rollout.step].share_bps if rollout.step < len(steps) else 500


def step_shadow(rollout: Rollout) -> bool:
    """Whether the version gets copies of requests in the present step."""
    steps = rollout.plan.steps
    return rollout.step < len(steps) and steps[rollout.step].mode == MODE_SHADOW


def _heading(view: ModelView, lane: LaneView) -> Text:
    line = Text(text.last_part(view.model.name), "bold")
    if lane.lane.segment:
        line.append(f" · segment {lane.lane.segment}")
    if lane.figures and math.isfinite(lane.figures.per_second):
        line.append(f" · {_rate(lane.figures.per_second)}")
    if view.changed:
        since = text.span(view.now - text.unix(view.changed.time))
        line.append(f" · changed {since} ago by {text.actor(view.changed.actor)}")
    return line


def _rate(per_second: float) -> str:
    """Of this moment, while the figures beside it are of the whole split: a quiet lane is not said to have 0 req/s."""
    if per_second == 0:
        return "no calls now"
    return f"{per_second:,.0f} req/s" if per_second >= 10 else f"{per_second:.1f} req/s"


def _shown(lane: Lane, split: dict[str, int]) -> list[LaneVersion]:
    main = [one for one in lane.versions if one.state == VERSION_STATE_STABLE]
    main += [one for one in lane.versions if one.state == VERSION_STATE_TESTING]
    # A version's state can be one answer newer than the lane's own fields.
    main += [one for one in lane.versions if one not in main and one.version in split]
    # What undo goes back to is shown, however long ago it was.
    before = [one for one in lane.versions if one.version == lane.previous_version and one not in main]
    others = [one for one in lane.versions if one not in main + before][: _OTHERS - len(before)]
    return main + [one for one in lane.versions if one in others + before]


def _version_row(
    one: LaneVersion, split: dict[str, int], view: LaneView, workers: Sequence[Instance], model: str, now: float
) -> list[Text]:
    row = [Text(one.version, "bold"), word(version_word(one.state))]
    if one.version not in split:
        since = f"{text.span(now - text.unix(one.state_time))} ago" if one.HasField("state_time") else ""
        testing = one.state == VERSION_STATE_TESTING
        return [*row, Text(), Text(_readiness(model, one.version, workers) if testing else since, "dim")]
    basis_points = split[one.version]
    row += [Text(text.percent(basis_points / _WHOLE, 1)), Text(text.bar(basis_points / _WHOLE, _BAR_WIDTH))]
    figures = view.figures.versions.get(one.version) if view.figures else None
    row += _figures(figures, measures(view))
    readiness = _readiness(model, one.version, workers)
    if readiness:
        row.append(Text(readiness, "yellow"))
    return row


def _figures(figures: VersionFigures | None, wanted: Sequence[Measure]) -> list[Text]:
    if figures is None or not figures.attempts:
        return [Text(), Text(), Text()]
    failed = figures.failed / figures.attempts
    return [
        Text(f"p50 {text.seconds(figures.median)}"),
        Text(f"errors {text.percent(failed)}", "red" if failed > _MANY_ERRORS else ""),
        Text(label_figures(figures, wanted)),
    ]


def _readiness(model: str, version: str, workers: Sequence[Instance]) -> str:
    """What is wrong with a version on the Workers; empty: all have it ready, or none is known."""
    if not workers:
        return ""
    said = [
        one
        for worker in workers
        for one in worker.serving
        if one.model == model and one.version == version and one.traffic == TRAFFIC_LIVE
    ]
    ready = sum(one.state == SERVING_STATE_READY for one in said)
    if ready == len(workers):
        return ""
    # A failure first; else what keeps a worker from loading it.
    troubled = sorted((one for one in said if one.error), key=lambda one: one.state != SERVING_STATE_FAILED)
    state = f"ready on {ready} of {text.plural(len(workers), 'worker')}"
    return f"{state}; {trouble(troubled[0])}" if troubled else state


def _rollout_lines(view: LaneView, live: Rollout | None, now: float) -> list[Text]:
    lines: list[Text] = []
    if live is not None:
        lines = [Text(" " * _INDENT) + line for line in _live_lines(live, view.analysis, now)]
    elif view.rollout is not None:
        lines = [Text(" " * _INDENT) + _ended_line(view.rollout, now)]
    if view.queued is not None:
        waits = view.queued.note or f"{view.queued.version} waits and starts by itself."
        lines.append(Text(f"{' ' * _INDENT}rollout {text.last_part(view.queued.name)} · QUEUED · {waits}"))
    return lines


def _live_lines(rollout: Rollout, analysis: Analysis | None, now: float) -> list[Text]:
    lines = [rollout_line(rollout, now)]
    if rollout.state == ROLLOUT_STATE_QUEUED:
        return [*lines, Text(rollout.note)]
    if missed := overdue(rollout, analysis, now):
        lines.append(Text(missed, "bold red"))
    if rollout.state == ROLLOUT_STATE_WAITING_READY:
        return [*lines, Text(rollout.note or f"waits until a worker has {rollout.version} verified and warm")]
    if rollout.state == ROLLOUT_STATE_PAUSED:
        lines.append(Text(_pause(rollout), "yellow"))
    if analysis is None:
        return [*lines, Text("waits for the evaluator's first look")]
    if analysis.HasField("record_time"):
        lines[0].append(f" · look {analysis.sequence}, {text.span(now - text.unix(analysis.record_time))} ago")
    return lines + summary_lines(analysis.summary, rollout)


def summary_lines(summary: Summary, rollout: Rollout) -> list[Text]:
    """The gates of a look, the inputs when they drifted, and what is waited for."""
    lines = gates_table(summary, rollout.policy)
    drift = drift_line(summary.drift, rollout.policy.drift_margin)
    if drift:
        drifted = summary.drift.test_drifted or summary.drift.stable_drifted
        lines.append(Text(drift[0].lower() + drift[1:], "yellow" if drifted else "dim"))
    if said := shadow_line(summary.shadow):
        lines.append(Text(said[0].lower() + said[1:], "dim"))
    waits = waiting_lines(summary)
    lines.extend(Text(line) for line in waits)
    if not waits and summary.reason:
        lines.append(Text(wait_words(summary.reason)))
    return lines


def _pause(rollout: Rollout) -> str:
    if rollout.pause_reason == PAUSE_REASON_INPUT_DRIFT:
        return rollout.note or "the inputs drifted in both arms; it goes on when the drift has ended"
    said = f": {rollout.note}" if rollout.note else ""
    model, _ = parse_rollout(rollout.name)
    return f"paused by a person{said}; {lane_command(f'resume {model}', rollout.segment)} lets it go on"


def _undone_line(undone: Event, now: float) -> Text:
    said = event_words.why(undone)
    if undone.reason == _NO_REASON:
        said = said.removesuffix(_NO_REASON).removesuffix(": ")
    why = f": {said}" if said else ""
    return Text(f" undone {text.span(now - text.unix(undone.time))} ago by {text.actor(undone.actor)}{why}")


def _ended_line(rollout: Rollout, now: float) -> Text:
    line = Text(f"rollout {text.last_part(rollout.name)} · {rollout.version} ")
    line.append_text(word(rollout_word(rollout.state)))
    if rollout.HasField("end_time"):
        line.append(f" {text.span(now - text.unix(rollout.end_time))} ago")
    reason = text.gist(rollout.outcome.reason or rollout.note)
    return line + Text(f": {reason}" if reason else "")
