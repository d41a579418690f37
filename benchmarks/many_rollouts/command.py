"""`python -m benchmarks.many_rollouts [--rollouts N] [--kill]`; the last line is a JSON object.

Versions are published one after the other while callers call: good ones and bad ones, every fifth in the lane of a
segment that is made for it and taken away. With --kill the Registry or the Evaluator is killed by SIGKILL in every
third rollout, and started again by the stack; no call may fail for it. What the services take is read when no rollout
runs, and its growth is given per 100 rollouts, by least squares over the second half of the readings: the first fills
caches.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table

from benchmarks.many_rollouts.callers import Callers
from benchmarks.many_rollouts.run import Run
from benchmarks.many_rollouts.versions import turn
from crossfade.client import AsyncClient
from crossfade.registry.v1 import service_pb2_grpc
from services.local.stack import Ports, Stack, StackOptions

_READ_EVERY: Final = 5
_KILL_EVERY: Final = 3
_VICTIMS: Final = ("registry", "evaluator")


def main(arguments: Sequence[str] = ()) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_rollouts", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=60)
    parser.add_argument("--rate", type=float, default=120.0, help="calls per second")
    parser.add_argument("--kill", action="store_true", help="kill a service in every third rollout")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crossfade-many-") as folder:
        result = asyncio.run(_measure(options, Path(folder)))
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, str(value))
    Console().print(table)
    print(json.dumps(result))


async def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    ports = Ports.free()
    async with (
        Stack(StackOptions(folder / "data", ports)) as stack,
        grpc.aio.insecure_channel(ports.address("registry")) as channel,
        AsyncClient(ports.address("router")) as client,
    ):
        callers = Callers(client, options.rate)
        run = Run(stack, ports, folder, service_pb2_grpc.RegistryServiceStub(channel), client, callers)
        await run.first()
        calling = asyncio.create_task(callers.run())
        for number in range(2, 2 + options.rollouts):
            one = turn(number)
            kills = options.kill and number % _KILL_EVERY == 0
            await run.rollout(one, _VICTIMS[number // _KILL_EVERY % len(_VICTIMS)] if kills else "")
            if (number - 1) % _READ_EVERY == 0:
                await run.read(number - 1)
        callers.stop()
        await calling
        return run.result()
