"""`crossfade status`, once or again and again."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from crossfade.cli.actions.snapshot import Gatherer
from crossfade.cli.common import address
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, ExitCode, UsageError
from crossfade.cli.plain import json_line
from crossfade.cli.registry_client import Registry
from crossfade.cli.render.jsons import view_json
from crossfade.cli.render.status import MOST_MODELS, left_out, render_models
from crossfade.cli.render.style import LIVE_STATES
from crossfade.cli.render.views import ModelView
from crossfade.quantities import parse_duration
from crossfade.registry.v1.resources_pb2 import ROLLOUT_STATE_ROLLED_BACK

_SHORTEST = 0.2
_BY_SIGNAL: Final = 128
"""What a shell adds to a signal's number, for the exit code of what has ended by it."""


def show_status(session: Session, model: str | None, *, watch: bool, interval: str, exit_code: bool) -> None:
    """Shows one model or all, once or until Ctrl-C.

    Raises:
        CommandError: the first look failed.
        typer.Exit: with the exit code that was asked for.
    """
    try:
        pause = max(parse_duration(interval), _SHORTEST)
    except ValueError as error:
        raise UsageError(f"--interval: {error}") from error
    gatherer = Gatherer(session.connect, address(session.options.router, "router"))
    looks = _Looks(session, gatherer, model, whole=exit_code or session.options.json)
    views = looks.look()
    if not watch:
        session.show(_json(views, model), looks.picture)
    elif session.options.json or not session.console.is_terminal:
        views = _print_again(session, looks, pause, until_ended=exit_code)
    else:
        views = _redraw(session, looks, pause, until_ended=exit_code)
    if exit_code:
        raise typer.Exit(code_of(views))


def code_of(views: Sequence[ModelView]) -> ExitCode:
    """What `--exit-code` ends with."""
    states = [lane.rollout.state for view in views for lane in view.lanes if lane.rollout]
    if any(state in LIVE_STATES for state in states):
        return ExitCode.ROLLING_OUT
    return ExitCode.ROLLED_BACK if ROLLOUT_STATE_ROLLED_BACK in states else ExitCode.DONE


class _Looks:
    """Looks at a model, or at all.

    Args:
        session: the command's.
        gatherer: looks.
        model: which; None: all.
        whole: each of all, however many they are. Otherwise, of more than a screen has room for, those that change.
    """

    def __init__(self, session: Session, gatherer: Gatherer, model: str | None, *, whole: bool) -> None:
        self._session = session
        self._gatherer = gatherer
        self.model = model
        self._whole = whole
        self.views: list[ModelView] = []
        self._left_out = ""

    def look(self) -> list[ModelView]:
        """The next one.

        Raises:
            CommandError: the Registry does not answer, or does not know the model.
        """
        if self.model is not None:
            self.views = [self._gatherer.view(self.model)]
            return self.views
        found = list(Registry(self._session.connect.registry()).models())
        shown = found
        if not self._whole and len(found) > MOST_MODELS:
            shown = [one for one in found if any(lane.rollout for lane in one.lanes)][:MOST_MODELS]
        self._left_out = left_out(len(found) - len(shown), len(shown) == MOST_MODELS)
        self.views = self._gatherer.views(shown)
        return self.views

    def picture(self) -> Text:
        """The latest one as it is shown."""
        return render_models(self.views, self._left_out)


def _json(views: Sequence[ModelView], model: str | None) -> object:
    return view_json(views[0]) if model is not None else {"models": [view_json(view) for view in views]}


def _print_again(session: Session, looks: _Looks, pause: float, *, until_ended: bool) -> list[ModelView]:
    """One JSON line, or one block of plain lines, per look."""
    while True:
        if session.options.json:
            typer.echo(json_line(_json(looks.views, looks.model)))
        else:
            session.print(looks.picture(), end="\n\n")
        if until_ended and code_of(looks.views) is not ExitCode.ROLLING_OUT:
            return looks.views
        time.sleep(pause)
        try:
            looks.look()
        except CommandError as error:
            session.note(f"{error.message}; trying again")


def _redraw(session: Session, looks: _Looks, pause: float, *, until_ended: bool) -> list[ModelView]:
    """One picture on the terminal, drawn anew at each look."""
    from rich.live import Live

    with _in_order(session.console), Live(looks.picture(), console=session.console, auto_refresh=False) as live:
        while not (until_ended and code_of(looks.views) is not ExitCode.ROLLING_OUT):
            time.sleep(pause)
            try:
                looks.look()
                picture = looks.picture()
            except CommandError as error:
                picture = looks.picture() + Text(f"\n {error.message}; trying again", "yellow")
            live.update(picture, refresh=True)
    return looks.views


@contextmanager
def _in_order(console: Console) -> Iterator[None]:
    """Has SIGTERM, as timeout(1) sends it, end what is under way as Ctrl-C does; the terminal gets its cursor back."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(_BY_SIGNAL + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        # The picture gives it back, but not when it is ended as it is drawn for the first time.
        console.show_cursor(True)
        signal.signal(signal.SIGTERM, before)
