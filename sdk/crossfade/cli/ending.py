"""How a command ends: with an exit code, and what failed said on stderr, as JSON where that was asked for."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import typer
from typer.core import TyperGroup

from crossfade.cli.errors import CommandError, ExitCode, UsageError
from crossfade.cli.file_faults import file_fault
from crossfade.cli.plain import json_line, plain

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Why a file, or what standard output is, takes no more."""
_NO_TEXT: Final = "surrogates not allowed"
"""What Python says of an argument's bytes that it could not read as text, once they are to be sent."""
_OTHER_ENCODING: Final = (
    "an argument has characters beyond the encoding that this shell has set; LC_ALL=C.UTF-8 before the command sets "
    "one that has all"
)
_WRONG_USAGE: Final[Any] = typer.BadParameter.__base__
"""What typer raises of arguments that it cannot read; of some of its releases it has no public name."""
_TOO_MANY: Final = "Got unexpected extra argument"
"""How what typer raises begins where more is said than a command takes."""
_ON_ROLLOUTS: Final = frozenset({"approve", "promote", "rollback", "pause", "resume", "abort", "advance"})
_FRAMEWORK: Final = (typer.Exit, typer.Abort, _WRONG_USAGE)
"""By these typer itself ends a command."""


def run(action: Callable[[], None], *, as_json: bool) -> None:
    """Runs an action; failures become a line on stderr and an exit code, never a traceback.

    CROSSFADE_DEBUG=1 lets the failure through.

    Args:
        action: what the command does.
        as_json: the line is one JSON object.

    Raises:
        typer.Exit: the action failed or was interrupted.
    """
    debug = os.environ.get("CROSSFADE_DEBUG", "") not in ("", "0")
    try:
        action()
    except CommandError as error:
        if debug:
            raise
        _say(error, as_json=as_json)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except BrokenPipeError as error:
        # Whoever read us has had enough. The interpreter's own flush at exit must not fail on the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(ExitCode.FAILED) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM and not debug:
            _say(CommandError(f"what was to be written cannot be: {error.strerror}"), as_json=as_json)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(ExitCode.FAILED) from error
        if debug or isinstance(error, _FRAMEWORK):
            raise
        if isinstance(error, OSError) and (refused := file_fault(error)):
            _say(CommandError(refused), as_json=as_json)
            raise typer.Exit(ExitCode.FAILED) from error
        if isinstance(error, UnicodeEncodeError) and error.reason == _NO_TEXT:
            _say(UsageError(_OTHER_ENCODING), as_json=as_json)
            raise typer.Exit(ExitCode.USAGE) from error
        fault = f"{type(error).__name__}: {error}. This is a fault of crossfade itself"
        _say(CommandError(f"{fault}; CROSSFADE_DEBUG=1 shows where it happened"), as_json=as_json)
        raise typer.Exit(ExitCode.FAILED) from error


class Commands(TyperGroup):
    """The command; with --json it also says as JSON which arguments it cannot read."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Reads what stands before a command."""
        as_json = asks_for_json(args)
        with _usage(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[__name__] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        """Reads the rest, and runs the command."""
        with _usage(as_json=ctx.meta[__name__]):
            return super().invoke(ctx)


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether --json is among arguments that were not read yet."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


@contextlib.contextmanager
def _usage(*, as_json: bool) -> Iterator[None]:
    try:
        yield
    except _WRONG_USAGE as error:
        _say_what_is_taken(error)
        if not as_json:
            raise
        _say(UsageError(error.format_message()), as_json=True)
        raise typer.Exit(error.exit_code) from error


def _say_what_is_taken(error: Any) -> None:
    """Adds what the command takes where more was said; a version is said of a rollout easily."""
    context = error.ctx
    if context is None or not error.message.startswith(_TOO_MANY):
        return
    taken = [one.metavar or one.name.upper() for one in context.command.params if one.param_type_name == "argument"]
    arguments = " ".join(taken) or "no argument"
    said = f"{error.message.rstrip('.')}: {context.command_path} takes {arguments}"
    if context.command.name in _ON_ROLLOUTS:
        said += "; the live rollout's version is meant (--rollout N says another rollout)"
    error.message = said


def say_note(message: str, *, as_json: bool) -> None:
    """Says on stderr what is no failure."""
    _tell(json_line({"note": message}) if as_json else plain(message))


def _say(error: CommandError, *, as_json: bool) -> None:
    if as_json:
        told = {"exit_code": int(error.exit_code), "message": error.message, "hint": error.hint}
        _tell(json_line({"error": told | asdict(error.facts)}))
    else:
        _tell(plain(f"error: {error.message}"))


def _tell(line: str) -> None:
    # With err=True, typer writes UTF-8 where stderr is ASCII.
    typer.echo(line, file=sys.stderr)
