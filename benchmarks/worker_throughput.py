"""What batching gains and costs: a version's process against the naive servicer that calls the module directly.

An MLP 256-512-512-10 with requests of one row, 1 and 64 in flight, the ways in turns. Both run the same loaded program
on one thread. `inline` and `thread` are the Worker with its batches on the event loop and on a thread. The load comes
from h2load where it is installed; otherwise from grpc.aio, which on a small machine is the limit itself.
`python -m benchmarks.worker_throughput`; the last line is a JSON object.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import h2load, load
from benchmarks.load import METHOD, Load
from benchmarks.served import Way, free_address, package_mlp, request, serve, until_serving
from benchmarks.turns import Rounds, paired, take_turns, typical
from crossfade.artifact import Artifact
from services.worker.process import ForkServer
from services.worker.settings import Handoff, WorkerSettings

_SECONDS: Final = 1
_ROUNDS: Final = 15
"""Many short ones: a shared machine's speed changes by a quarter within a minute, and each is compared by itself."""
_IN_FLIGHT: Final = (1, 64)


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    artifact = package_mlp(folder / "mlp")
    keys = folder / "keys"
    keys.write_text("1 " + "5a" * 32 + "\n")
    forks = ForkServer(1)
    async with contextlib.AsyncExitStack() as stack:
        ways = {"naive": await stack.enter_async_context(_naive(artifact))}
        for handoff in Handoff:
            settings = WorkerSettings(version_threads=1, handoff=handoff, token_keys=keys)
            ways[handoff.value] = await stack.enter_async_context(serve(forks, artifact, settings))
        for way in ways.values():
            await until_serving(way.address)
        found = {n: await take_turns(ways, _ROUNDS, partial(_measured, in_flight=n)) for n in _IN_FLIGHT}
    _print(found)


async def _measured(way: Way, in_flight: int) -> Load:
    measure = h2load.measure if h2load.available() else load.measure
    return await measure(way.address, METHOD, request(), in_flight, _SECONDS, [way.pid])


@contextlib.asynccontextmanager
async def _naive(artifact: Artifact) -> AsyncIterator[Way]:
    address = free_address()
    command = [sys.executable, "-m", "benchmarks.naive_servicer", str(artifact.path), address]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        yield Way(address, process.pid)
    finally:
        process.kill()
        await process.wait()


def _print(found: dict[int, Rounds]) -> None:
    table = Table("in flight", "way", "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "failed")
    for in_flight, rounds in found.items():
        for name, loads in rounds.items():
            one = typical(loads)
            table.add_row(
                str(in_flight),
                name,
                f"{one.per_second:,.0f}",
                f"{one.p50 * 1e3:.3f}",
                f"{one.p99 * 1e3:.3f}",
                f"{one.cpu * 1e6:.0f}",
                str(one.failed),
            )
    Console().print(table)
    alone, together = found[1], found[64]
    print(
        json.dumps(
            {
                "added_ms_at_1": round(paired(alone, "auto", "naive", _more_ms), 4),
                "thread_added_ms_at_1": round(paired(alone, "thread", "naive", _more_ms), 4),
                "gain_at_64": round(paired(together, "auto", "naive", _faster), 3),
                "per_second_at_64": round(typical(together["auto"]).per_second),
                "p50_ms_at_1": round(typical(alone["auto"]).p50 * 1e3, 3),
                "client": "h2load" if h2load.available() else "grpc.aio",
                "failed": sum(one.failed for rounds in found.values() for loads in rounds.values() for one in loads),
            }
        )
    )


def _more_ms(one: Load, base: Load) -> float:
    return (one.p50 - base.p50) * 1e3


def _faster(one: Load, base: Load) -> float:
    return one.per_second / base.per_second


if __name__ == "__main__":
    main()
