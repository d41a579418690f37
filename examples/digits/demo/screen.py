"""What the demo draws: the split, the gates with their evidence, what they wait for, and the events."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.syntax import Syntax
from rich.text import Text

from crossfade.cli.hanging import hung
from crossfade.cli.render.status import render_lane
from crossfade.cli.render.views import LaneView
from crossfade.cli.text import columns, join
from crossfade.enum_names import enum_name
from crossfade.registry.v1 import resources_pb2
from examples.digits.demo.report import Report, VersionReport
from examples.digits.demo.run import MODEL, View
from examples.digits.demo.traffic import Traffic

_EVENTS_SHOWN: Final = 6
_REFRESHES_PER_SECOND: Final = 4


class Screen:
    """Draws on a terminal; in a pipe it prints one line per event instead.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._events: deque[Text] = deque(maxlen=_EVENTS_SHOWN)
        self._last = ""
        self._live: Live | None = None
        self._traffic: Traffic | None = None

    def say(self, line: str) -> None:
        """Prints a line."""
        self._console.print(Text(f"{self._clock()} {line}"))

    def policy(self, document: str) -> None:
        """Shows the policy file."""
        self._console.print(Syntax(document, "yaml", background_color="default") if self._tty else document)

    @contextmanager
    def live(self, traffic: Traffic) -> Iterator[None]:
        """Draws while the context lasts."""
        self._traffic = traffic
        if not self._tty:
            yield
            return
        with Live(console=self._console, refresh_per_second=_REFRESHES_PER_SECOND) as self._live:
            yield
        self._live = None

    def show(self, view: View) -> None:
        """Draws the present state."""
        event = _event(view)
        if event != self._last:
            self._last = event
            line = Text(f"{self._clock()} {event}")
            self._events.append(line)
            if self._live is None:
                self._console.print(line)
        if self._live is not None:
            self._live.update(self._picture(view))

    def table(self, report: Report) -> None:
        """The end: what became of each version."""
        self._console.print(summary(report, self._console.width), soft_wrap=True)

    @property
    def _tty(self) -> bool:
        return self._console.is_terminal

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 60}:{seconds % 60:02d}"

    def _picture(self, view: View) -> Group:
        chapter = view.chapter
        lines = [Text(f"{chapter.version}: {chapter.about}", "bold"), Text()]
        if view.model is not None and view.model.lanes:
            lane = LaneView(view.model.lanes[0], view.rollout, view.analysis)
            lines += render_lane(lane, (), MODEL, time.time())
        if view.drifting:
            lines.append(Text("the camera has been knocked: every caller's images are shifted", "yellow"))
        if self._traffic is not None:
            tally = self._traffic.tally
            lines += [Text(), Text(f"{tally.sent:,} calls · {tally.failed} failed · {tally.labels:,} labels", "dim")]
        return Group(*lines, Text(), *self._events)


def summary(report: Report, width: int) -> Text:
    """The end: a table of the versions, the reasons below it, the calls and the verdict.

    Args:
        report: what happened.
        width: columns; reasons are longer than most terminals are wide.
    """
    heading: list[str | Text] = ["version", "outcome", "requests", "seconds"]
    rows: list[list[str | Text]] = [
        [
            one.version,
            Text(one.outcome, "green" if one.as_expected else "red"),
            f"{one.test_requests:,}",
            f"{one.seconds:.0f}",
        ]
        for one in report.versions
    ]
    tally = report.tally
    lines = [
        Text(f"seed {report.seed}: {report.seconds:.0f} s", "italic"),
        *columns([heading, *rows], right=(2, 3)),
        Text(),
        *(hung(Text(_why(one)), width) for one in report.versions),
        Text(),
        Text(f"Predict: {tally.sent:,} calls sent, {tally.failed} failed, {tally.lost} lost; {tally.labels:,} labels."),
        *map(Text, tally.failures),
        Text("Every outcome was the expected one.", "bold green")
        if report.ok
        else Text("NOT every outcome was the expected one.", "bold red"),
    ]
    return join(lines)


def _why(one: VersionReport) -> str:
    """The reason, which mostly begins with its version already."""
    named = one.reason.startswith((f"{one.version} ", f"{one.version}'s "))
    return one.reason if named else f"{one.version}: {one.reason}"


def _event(view: View) -> str:
    rollout = view.rollout
    if rollout is None or rollout.version != view.chapter.version:
        return f"{view.chapter.version} is published: {view.chapter.about}"
    state = enum_name(resources_pb2.RolloutState.DESCRIPTOR, rollout.state)
    share = f"{rollout.effective_share_bps / 100:g} %"
    reason = rollout.outcome.reason or rollout.note
    live = state in ("RUNNING", "PAUSED")
    return f"{rollout.version} {state}" + (f" at {share}" if live else "") + (f": {reason}" if reason else "")
