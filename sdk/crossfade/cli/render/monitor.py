"""What `crossfade monitor` draws, and the alerts of `crossfade status`. Pure."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from crossfade.cli import text
from crossfade.cli.hints import lane_command
from crossfade.cli.render.gate_words import limit_text
from crossfade.cli.render.gates import drift_line, estimate_text, harm_meter
from crossfade.common.v1.analysis_pb2 import GateReport
from crossfade.common.v1.policy_pb2 import (
    METRIC_ABSOLUTE_ERROR,
    METRIC_CLASS_BALANCE,
    METRIC_ERRORS,
    METRIC_VALUE,
)
from crossfade.registry.v1.resources_pb2 import Alert, Monitor

_HEADER: Final = ("metric", "past", "lately", "allowed", "harm")
_DISTRIBUTIONS: Final = frozenset({METRIC_CLASS_BALANCE, METRIC_VALUE})
"""Held against their past as a whole; their figure is the largest shift of a share."""


def monitor_on(model: str, segment: str) -> str:
    """The command that has a lane watched again."""
    return lane_command(f"monitor {model} --on", segment)


def unseen(stable: str, rollout: str, *, evaluator: bool) -> str:
    """Why nothing was looked at yet, and when it will be.

    Args:
        stable: the lane's stable version; empty: none.
        rollout: number of the live rollout; empty: none.
        evaluator: one has a lease.
    """
    if rollout:
        return "no look yet: it is looked at without a rollout, so once that has ended"
    if not stable:
        return "no look yet: nothing is stable in it"
    if not evaluator:
        return "no look yet: no Evaluator has reported to the Registry (crossfade instances lists who has)"
    return "no look yet: the first one comes within a minute, or within the Evaluator's CROSSFADE_MONITOR_SECONDS"


def render_monitor(monitor: Monitor, model: str, rollout: str, now: float, first: str = "") -> list[Text]:
    """A lane's monitor.

    Args:
        monitor: as the Registry has it.
        model: the model's id.
        rollout: number of the live rollout; empty: none.
        now: seconds since 1970.
        first: what is said where there was no look yet.
    """
    name = f"{model} {monitor.segment}".rstrip()
    settings = monitor.settings
    if settings.off:
        return [Text(f"{name} is not watched: {monitor_on(model, monitor.segment)} watches it again")]
    line = Text(f"{name} · ")
    if rollout:
        line.append(f"rollout {rollout} watches it now · ")
    if not monitor.sequence:
        return [line + Text(first)]
    if not monitor.version:
        return [line + Text("no look since it was switched on")]
    line.append(f"look {monitor.sequence}, {text.span(now - text.unix(monitor.record_time))} ago, of {monitor.version}")
    line.append(" · an alert undoes it once" if settings.undo else " · alerts are told")
    lines = [line, *alert_lines(monitor.alerts, now)]
    if not monitor.alerts:
        lines.append(Text(f" {monitor.summary.reason}"))
    if monitor.summary.gates:
        header = [Text(cell, "dim") for cell in _HEADER]
        lines += text.columns([header, *(_row(gate) for gate in monitor.summary.gates)], indent=1)
    # A drift is among the alerts, with what moved.
    drift = "" if monitor.summary.drift.stable_drifted else drift_line(monitor.summary.drift)
    return [*lines, Text(f" {drift}", "dim")] if drift else lines


def alert_lines(alerts: Sequence[Alert], now: float) -> list[Text]:
    """One line per alert: `alert for 12 min: v3 failed 5 % of 900 attempts lately; …`."""
    return [Text(f" alert for {text.span(now - text.unix(one.start_time))}: {one.reason}", "red") for one in alerts]


def _row(gate: GateReport) -> list[Text]:
    if gate.metric in _DISTRIBUTIONS:
        lately = Text(f"{100 * gate.test.estimate:.1f} pt" if gate.test.n else "–")
        return [Text(gate.gate), Text("–"), lately, Text(f"± {100 * gate.limit.at_most:.1f} pt"), harm_meter(gate)]
    # Of absolute errors a monitor counts those that are larger than nearly all were before: a share, as failures are.
    metric = METRIC_ERRORS if gate.metric == METRIC_ABSOLUTE_ERROR else gate.metric
    return [
        Text(gate.gate),
        Text(estimate_text(gate.baseline.estimate, metric)),
        Text(estimate_text(gate.test.estimate, metric) if gate.test.n else "–"),
        Text(limit_text(gate.limit)),
        harm_meter(gate),
    ]
