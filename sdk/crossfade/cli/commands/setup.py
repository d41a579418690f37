"""Commands around the services: policy check, certs dev, up, registry."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from crossfade.cli.commands.publish import AssignmentOption, ObjectiveOption
from crossfade.cli.common import Options
from crossfade.cli.context import Session, command
from crossfade.cli.ending import asks_for_json, run
from crossfade.cli.errors import CommandError, UsageError

_GROUP = "crossfade.commands"
_HELP: Final = {"help_option_names": ["-h", "--help"]}
"""How every command's help is asked for."""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    policy = typer.Typer(help="Check policy files.", rich_markup_mode=None, no_args_is_help=True)
    policy.command("check")(command(check))
    app.add_typer(policy, name="policy")
    certs = typer.Typer(help="Make certificates.", rich_markup_mode=None, no_args_is_help=True)
    certs.command("dev")(command(dev))
    certs.command("signing")(command(signing))
    app.add_typer(certs, name="certs")
    # What follows `up` is read by the services' own command, so that this one starts fast and knows no services.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("up", context_settings=settings, add_help_option=False)(up)
    app.command("registry", context_settings=settings, add_help_option=False)(registry)


def check(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file (YAML).", show_default=False)],
    task: Annotated[
        str,
        typer.Option(
            "--task", help="classification, regression or other; decides on the default gates.", metavar="TASK"
        ),
    ] = "classification",
    objective: ObjectiveOption = "",
    assignment: AssignmentOption = "",
) -> None:
    """Check a policy file, and print it with every default filled in."""
    from crossfade.cli.actions.policy_check import check_policy

    check_policy(session, file, task, objective, assignment)


def dev(
    session: Session,
    to: Annotated[Path, typer.Option("--to", help="The folder.", metavar="FOLDER")],
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="One more host name or IP address of the servers.", metavar="HOST"),
    ] = None,
) -> None:
    """Make a CA and certificates, for trying mutual TLS.

    There is one for each service and each role.
    """
    import datetime as dt

    from crossfade.cli.actions.certificates import (
        PEOPLE,
        SERVICES,
        VALID_DAYS,
        CertificateError,
        HostError,
        make_certificates,
    )

    try:
        files = make_certificates(to, name or [], dt.datetime.now(dt.UTC))
    except HostError as error:
        raise UsageError(f"--name {error}") from error
    except CertificateError as error:
        raise CommandError(str(error)) from error
    session.show(
        {"folder": str(to.resolve()), "files": [file.name for file in files], "valid_days": VALID_DAYS},
        lambda: (
            f"{to}: a CA, and certificates for {', '.join((*SERVICES, *PEOPLE))}, valid for {VALID_DAYS} days\n"
            "For trying out only: the CA's key lies beside them. To act as an operator:\n"
            f"  export CROSSFADE_TLS_CA={to.resolve()}/ca.pem\n"
            f"  export CROSSFADE_TLS_CERTIFICATE={to.resolve()}/operator.pem\n"
            f"  export CROSSFADE_TLS_KEY={to.resolve()}/operator.key"
        ),
    )


def signing(
    session: Session,
    to: Annotated[Path, typer.Option("--to", help="The folder.", metavar="FOLDER")],
    name: Annotated[str, typer.Option("--name", help="What the two files are called.", metavar="NAME")] = "signing",
) -> None:
    """Make a pair of keys that artifacts are signed with.

    The private one is for crossfade sign, the public one for Workers.
    """
    from crossfade.signing import SigningError, make_signing_key

    private, public = to / f"{name}.key", to / f"{name}.pem"
    try:
        make_signing_key(private, public)
    except SigningError as error:
        raise CommandError(str(error)) from error
    session.show(
        {"private": str(private.resolve()), "public": str(public.resolve())},
        lambda: (
            f"{private}: signs artifacts, with `crossfade sign DIR --key {private}`; keep it from others\n"
            f"{public}: for Workers, which take only what it has signed:\n"
            f"  export CROSSFADE_TRUSTED_KEYS={public.resolve()}"
        ),
    )


def up(ctx: typer.Context) -> None:
    """Run all services on this machine, until Ctrl-C."""
    _run_extension(ctx, "up", "local")


def registry(ctx: typer.Context) -> None:
    """Look after a Registry's database: migrate."""
    _run_extension(ctx, "registry", "registry")


def _run_extension(ctx: typer.Context, name: str, extra: str) -> None:
    """Runs a command that another package brings.

    Args:
        ctx: what was said before its name, and in `args` what follows it.
        name: the command's.
        extra: of crossfade-services, which has all that it needs.

    Raises:
        typer.Exit: it ended so, the package is not installed, or one of its parts is missing.
    """
    options = ctx.find_root().obj
    as_json = (isinstance(options, Options) and options.json) or asks_for_json(ctx.args)

    def run_loaded() -> None:
        # What it cannot read is said by this command, as JSON where that was asked for.
        asked = {"args": ctx.args, "prog_name": f"crossfade {name}", "obj": options, "standalone_mode": False}
        code = _load(name, extra)(**asked)
        if isinstance(code, int):
            raise typer.Exit(code)

    run(run_loaded, as_json=as_json)


def _load(name: str, extra: str) -> Callable[..., Any]:
    """A command that another package brings.

    Raises:
        CommandError: the package is not installed, or one of its parts is missing.
    """
    found = importlib.metadata.entry_points(group=_GROUP, name=name)
    missing = f"crossfade {name} needs the services: pip install 'crossfade-services[{extra}]'"
    if not found:
        raise CommandError(missing)
    try:
        extension = next(iter(found)).load()
    except ImportError as error:
        raise CommandError(f"{missing} ({error})") from error
    return _as_command(extension, name)


def _as_command(extension: Any, name: str) -> Callable[..., Any]:
    """A typer app or a command as it is; a plain function as a command of its own."""
    if isinstance(extension, typer.Typer) or hasattr(extension, "main"):
        ready: Callable[..., Any] = extension
        return ready
    app = typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=_HELP
    )
    app.command(name)(extension)
    return app
