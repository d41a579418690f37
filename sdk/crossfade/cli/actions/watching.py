"""`crossfade status`, once or again and again."""

import time
from collections.abc import Sequence

import typer

from crossfade.cli.actions.snapshot import Gatherer
from crossfade.cli.common import address
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, ExitCode, UsageError
from crossfade.cli.plain import json_line
from crossfade.cli.registry_client import Registry
from crossfade.cli.render.jsons import view_json
from crossfade.cli.render.status import render_models
from crossfade.cli.render.style import LIVE_STATES
from crossfade.cli.render.views import ModelView
from crossfade.cli.text import last_part
from crossfade.quantities import parse_duration
from crossfade.registry.v1.resources_pb2 import ROLLOUT_STATE_ROLLED_BACK

_SHORTEST = 0.2


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
    views = _views(session, gatherer, model)
    if not watch:
        session.show(_json(views, model), lambda: render_models(views))
    elif session.options.json or not session.console.is_terminal:
        views = _print_again(session, gatherer, model, views, pause, until_ended=exit_code)
    else:
        views = _redraw(session, gatherer, model, views, pause, until_ended=exit_code)
    if exit_code:
        raise typer.Exit(code_of(views))


def code_of(views: Sequence[ModelView]) -> ExitCode:
    """What `--exit-code` ends with."""
    states = [lane.rollout.state for view in views for lane in view.lanes if lane.rollout]
    if any(state in LIVE_STATES for state in states):
        return ExitCode.ROLLING_OUT
    return ExitCode.ROLLED_BACK if ROLLOUT_STATE_ROLLED_BACK in states else ExitCode.DONE


def _views(session: Session, gatherer: Gatherer, model: str | None) -> list[ModelView]:
    if model is not None:
        return [gatherer.view(model)]
    found = list(Registry(session.connect.registry()).models())
    return [gatherer.view(last_part(one.name)) for one in found]


def _json(views: Sequence[ModelView], model: str | None) -> object:
    return view_json(views[0]) if model is not None else {"models": [view_json(view) for view in views]}


def _print_again(
    session: Session,
    gatherer: Gatherer,
    model: str | None,
    views: list[ModelView],
    pause: float,
    *,
    until_ended: bool,
) -> list[ModelView]:
    """One JSON line, or one block of plain lines, per look."""
    while True:
        if session.options.json:
            typer.echo(json_line(_json(views, model)))
        else:
            session.print(render_models(views), end="\n\n")
        if until_ended and code_of(views) is not ExitCode.ROLLING_OUT:
            return views
        time.sleep(pause)
        try:
            views = _views(session, gatherer, model)
        except CommandError as error:
            session.note(f"{error.message}; trying again")


def _redraw(
    session: Session,
    gatherer: Gatherer,
    model: str | None,
    views: list[ModelView],
    pause: float,
    *,
    until_ended: bool,
) -> list[ModelView]:
    """One picture on the terminal, drawn anew at each look."""
    from rich.live import Live
    from rich.text import Text

    with Live(render_models(views), console=session.console, auto_refresh=False) as live:
        while not (until_ended and code_of(views) is not ExitCode.ROLLING_OUT):
            time.sleep(pause)
            try:
                views = _views(session, gatherer, model)
                picture = render_models(views)
            except CommandError as error:
                picture = render_models(views) + Text(f"\n {error.message}; trying again", "yellow")
            live.update(picture, refresh=True)
    return views
