"""What every command has: options, output, connections."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crossfade.cli.common import Options
from crossfade.cli.ending import run, say_note
from crossfade.cli.plain import json_block

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from crossfade.cli.connect import Connections

WIDTH: Final = 100
"""Columns that tables are made for, where there is no terminal to ask."""


RegistryOption = Annotated[
    str | None, typer.Option("--registry", help="Registry, host:port; or CROSSFADE_REGISTRY.", metavar="ADDRESS")
]
RouterOption = Annotated[
    str | None, typer.Option("--router", help="Router, host:port; or CROSSFADE_ROUTER.", metavar="ADDRESS")
]
EvaluatorOption = Annotated[
    str | None, typer.Option("--evaluator", help="Evaluator, host:port; or CROSSFADE_EVALUATOR.", metavar="ADDRESS")
]
UserOption = Annotated[str | None, typer.Option("--user", help="Your name in a local trial.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="No colours.")]
RequestIdOption = Annotated[
    str,
    typer.Option("--request-id", help="The one of a change that got no answer; it is made once.", metavar="ID"),
]

_COMMON: Final = {
    "registry": (RegistryOption, None),
    "router": (RouterOption, None),
    "evaluator": (EvaluatorOption, None),
    "user": (UserOption, None),
    "json": (JsonOption, False),
    "no_color": (NoColorOption, False),
}
_CHANGING: Final = {"request_id": (RequestIdOption, "")}


class Session:
    """One command's run.

    Args:
        options: what was said.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @functools.cached_property
    def console(self) -> "Console":
        """Where text goes: colours on a terminal, plain lines elsewhere."""
        from crossfade.cli.screen import PlainConsole

        console = PlainConsole(no_color=self.options.no_color or None, highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            console.width = WIDTH
        return console

    @functools.cached_property
    def connect(self) -> "Connections":
        """Connections to the services."""
        from crossfade.cli.connect import Connections

        return Connections(self.options)

    def show(self, payload: object, text: "Callable[[], Text | str]", *, prose: bool = False) -> None:
        """Prints the payload as JSON when that was asked for, else the text.

        Args:
            payload: for programs.
            text: for people.
            prose: long lines of it are broken between words on a terminal; a pipe gets them whole.
        """
        if self.options.json:
            typer.echo(json_block(payload))
            return
        rendered = text()
        # Colours may be asked for in a pipe as well.
        if rendered and prose and self.console.file.isatty():
            from rich.text import Text

            from crossfade.cli.hanging import hung

            rendered = hung(Text(rendered) if isinstance(rendered, str) else rendered, self.console.width)
        if rendered:
            self.print(rendered)

    def print(self, rendered: "Text | str", end: str = "\n") -> None:
        """Prints text; lines are broken by the terminal alone, so that a pipe gets them whole."""
        self.console.print(rendered, end=end, soft_wrap=True)

    def note(self, message: str) -> None:
        """Says something on stderr, so that stdout holds the result alone."""
        say_note(message, as_json=self.options.json)

    def close(self) -> None:
        """Closes what was opened."""
        if "connect" in self.__dict__:
            self.connect.close()


def command(function: Callable[..., None], *, changes: bool = False) -> Callable[..., None]:
    """Makes a command of `function(session, ...)`: adds the common options, and ends failures with an exit code.

    Args:
        function: what it does.
        changes: it changes something at the Registry, so that it can be said again without changing it twice.
    """
    options = _COMMON | _CHANGING if changes else _COMMON
    own = list(inspect.signature(function).parameters.values())[1:]

    def wrapper(ctx: typer.Context, **given: Any) -> None:
        base = ctx.find_root().obj
        common = {name: given.pop(name) for name in options}
        said = (base if isinstance(base, Options) else Options()).changed(common)
        if ctx.invoked_subcommand is not None:
            # The command of a group that is one by itself: what was said before the other one is meant for that.
            ctx.find_root().obj = said
            return
        session = Session(said)
        try:
            run(functools.partial(function, session, **given), as_json=session.options.json)
        finally:
            session.close()

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        *(
            inspect.Parameter(name, keyword, annotation=annotation, default=default)
            for name, (annotation, default) in options.items()
        ),
    ]
    wrapper.__name__ = function.__name__
    wrapper.__doc__ = function.__doc__
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(wrapper)["__signature__"] = inspect.Signature(parameters)
    return wrapper
