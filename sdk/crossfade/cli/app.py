"""Assembles the `crossfade` command."""

import importlib.metadata
from typing import Annotated

import typer

from crossfade.cli import commands
from crossfade.cli.common import Options
from crossfade.cli.context import EvaluatorOption, JsonOption, NoColorOption, RegistryOption, RouterOption, UserOption
from crossfade.cli.grouped import GroupedCommands


def build() -> typer.Typer:
    """The command with all its commands."""
    app = typer.Typer(
        name="crossfade",
        cls=GroupedCommands,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_options)
    for group in (
        commands.artifact,
        commands.publish,
        commands.look,
        commands.evaluator,
        commands.rollout,
        commands.lane,
        commands.predict,
        commands.webhooks,
        commands.setup,
    ):
        group.register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crossfade {importlib.metadata.version('crossfade')}")
        raise typer.Exit


def _options(
    ctx: typer.Context,
    registry: RegistryOption = None,
    router: RouterOption = None,
    evaluator: EvaluatorOption = None,
    user: UserOption = None,
    json: JsonOption = False,
    no_color: NoColorOption = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the release.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Roll out versions of machine-learning models: watched, and promoted or rolled back by themselves."""
    del version
    given = {
        "registry": registry,
        "router": router,
        "evaluator": evaluator,
        "user": user,
        "json": json,
        "no_color": no_color,
    }
    ctx.obj = Options.from_environment().changed(given)
