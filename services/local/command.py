"""`crossfade up`: everything on this machine, until Ctrl-C."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from services.common.server import AddressError
from services.local.folder import FolderInUseError
from services.local.postgres import PostgresError
from services.local.stack import Ports, Stack, StackOptions, StartError


def up(
    data: Annotated[Path, typer.Option(help="Folder of the database, keys, cache and logs.")] = Path(".crossfade"),
    port: Annotated[
        int, typer.Option(help="The Router's port; Registry, Worker and Evaluator take it −100, +100 and +200.")
    ] = 8500,
    otlp: Annotated[str, typer.Option(help="OTLP receiver of traces, as http://localhost:4317.")] = "",
) -> None:
    """Start Registry, Router, Worker and Evaluator on this machine; Ctrl-C ends all."""
    options = StackOptions(
        folder=data,
        ports=Ports(port - 100, port, port + 100, port + 200),
        environment={"CROSSFADE_OTLP_ENDPOINT": otlp} if otlp else {},
        say=typer.echo,
    )
    try:
        asyncio.run(_serve(options))
    except (AddressError, FolderInUseError, PostgresError, StartError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


async def _serve(options: StackOptions) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    starting = asyncio.create_task(_enter(options))
    stopping = asyncio.create_task(ended.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        stack = await starting
        typer.echo(
            f"\nCrossfade is up. Publish with `crossfade publish MODEL DIR`, call {options.ports.address('router')}; "
            f"Ctrl-C ends all.\nEverything is kept in {options.folder.resolve()}."
        )
        failing = asyncio.create_task(stack.failed.wait())
        await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
        typer.echo("ending …")
        await stack.stop()
        if stack.failed.is_set():
            raise StartError("the database ended by itself; start again, and look at its log if it does so again")


async def _enter(options: StackOptions) -> Stack:
    return await Stack(options).__aenter__()
