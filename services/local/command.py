"""`crossfade up`: everything on this machine, until Ctrl-C."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from crossfade.cli.errors import CommandError
from crossfade.cli.file_faults import folder_fault
from services.common.server import AddressError
from services.local.folder import FolderInUseError
from services.local.postgres_cluster import PostgresError
from services.local.setting_names import SETTINGS
from services.local.stack import NAMES, Ports, Stack, StackOptions, StartError

_CALLED: Final = ("registry", "router", "evaluator")
"""What the command calls; it knows the variables CROSSFADE_REGISTRY, CROSSFADE_ROUTER and CROSSFADE_EVALUATOR."""

_LISTEN: Final = "CROSSFADE_LISTEN"
_OTHER_FOLDER: Final = "choose a folder that can be written, with --data"


def up(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option(help="Folder of the database, keys, cache and logs.", metavar="FOLDER")] = Path(
        ".crossfade"
    ),
    port: Annotated[
        int,
        typer.Option(
            help="The Router's port; Registry, Worker and Evaluator take it −100, +100 and +200.",
            min=101,
            max=65_335,
            metavar="PORT",
        ),
    ] = 8500,
    otlp: Annotated[
        str, typer.Option(help="OTLP receiver of traces, as http://localhost:4317.", metavar="ADDRESS")
    ] = "",
    webhooks: Annotated[
        Path | None,
        typer.Option(help="File of the webhooks that are told of outcomes (docs/registry.md).", metavar="FILE"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the services, as CROSSFADE_MONITOR_SECONDS=10.", metavar="NAME=VALUE"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON on standard output once all is up; the rest on stderr.")
    ] = False,
) -> None:
    """Start Registry, Router, Worker and Evaluator on this machine; Ctrl-C ends all."""
    # `crossfade --json up` says the same as `crossfade up --json`.
    as_json = as_json or bool(getattr(ctx.find_root().obj, "json", False))
    environment = dict(_setting(written) for written in settings or ())
    if otlp:
        environment["CROSSFADE_OTLP_ENDPOINT"] = otlp
    if webhooks is not None:
        if not webhooks.is_file():
            raise CommandError(f"--webhooks: {webhooks} is no file")
        environment["CROSSFADE_WEBHOOKS"] = str(webhooks.resolve())
    options = StackOptions(
        folder=data,
        ports=Ports(port - 100, port, port + 100, port + 200),
        environment=environment,
        say=partial(_tell, err=as_json),
    )
    try:
        asyncio.run(_serve(options, as_json=as_json))
    except OSError as error:
        raise CommandError(folder_fault(error, data, _OTHER_FOLDER) or str(error)) from error
    except (AddressError, FolderInUseError, PostgresError, StartError) as error:
        raise CommandError(str(error)) from error


def _setting(written: str) -> tuple[str, str]:
    name, equals, value = written.partition("=")
    if not (equals and name.startswith("CROSSFADE_")):
        raise typer.BadParameter(f"{written!r} is no setting: write CROSSFADE_…=VALUE", param_hint="--set")
    if name not in SETTINGS:
        near = get_close_matches(name, SETTINGS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise typer.BadParameter(
            f"no service has a setting {name}: {meant}docs/deployment.md lists all", param_hint="--set"
        )
    if name == _LISTEN:
        raise typer.BadParameter(
            f"{name} would give all services one address: --port N says where they listen", param_hint="--set"
        )
    return name, value


async def _serve(options: StackOptions, *, as_json: bool) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _ending_signals():
        loop.add_signal_handler(number, ended.set)
    starting = asyncio.create_task(_enter(options))
    stopping = asyncio.create_task(ended.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        stack = await starting
        try:
            if as_json:
                addresses = {name: options.ports.address(name) for name in NAMES}
                _tell(json.dumps({"up": True, "folder": str(options.folder.resolve()), "addresses": addresses}))
            options.say(f"\n{is_up(options.ports, options.folder)}")
            failing = asyncio.create_task(stack.failed.wait())
            await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
            options.say("ending …")
        finally:
            await stack.stop()
        if stack.failed.is_set():
            raise StartError("the database ended by itself; start again, and look at its log if it does so again")


def _ending_signals() -> tuple[signal.Signals, ...]:
    """What ends all in order: Ctrl-C, the system's request, and the end of the terminal, but under nohup."""
    always = (signal.SIGTERM, signal.SIGINT)
    return always if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*always, signal.SIGHUP)


def _tell(line: str, *, err: bool = False) -> None:
    """Says something to whoever still listens; the services go on when nobody does."""
    try:
        typer.echo(line, err=err)
    except OSError:
        # What could not be written must not fail again when the interpreter ends.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), (sys.stderr if err else sys.stdout).fileno())


def is_up(ports: Ports, folder: Path) -> str:
    """What to do now, with the addresses that the command has to be told where they are not its own."""
    first = (
        f"Crossfade is up. Publish with `crossfade publish MODEL DIR`, call {ports.address('router')}; Ctrl-C ends all."
    )
    kept = f"Everything is kept in {folder.resolve()}."
    if ports == Ports():
        return f"{first}\n{kept}"
    exports = (f"  export CROSSFADE_{name.upper()}={ports.address(name)}" for name in _CALLED)
    return "\n".join((first, "In the terminal of the command, whose own ports are others, first:", *exports, kept))


async def _enter(options: StackOptions) -> Stack:
    return await Stack(options).__aenter__()
