"""The Worker beside what else serves a torch model over gRPC from Python: PyTriton, MLServer, and the servicer that one
writes first.

An MLP and a small convolutional network, requests of one row by ModelInfer, 1, 8 and 64 in flight, the servers in
turns, each on one thread of torch. The load comes from h2load where it is installed; otherwise from grpc.aio, which on
a small machine is the limit itself. `python -m benchmarks.worker_throughput`; the last line is a JSON object. Rivals
are installed into environments of their own at the first run (about 1.5 GB).
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import h2load, load, nets, rival
from benchmarks.load import MODEL_INFER, Load
from benchmarks.served import Way, free_address, package_net, request, rows, serve, token_keys, until_serving
from benchmarks.turns import Rounds, paired, take_turns, typical
from crossfade.artifact import Artifact
from services.worker.settings import WorkerSettings
from services.worker.supervisor.process import ForkServer

_SECONDS: Final = 2
_ROUNDS: Final = 7
_IN_FLIGHT: Final = (1, 8, 64)
_LOOP_SECONDS: Final = 1.0
_NETS: Final = ("mlp", "conv", "deep")
_UNPROFILED: Final = "worker, inputs not counted"

Found = dict[int, Rounds]
"""The rounds, by calls in flight."""


def main() -> None:
    """Measures and prints."""
    forks = ForkServer(1)
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in _NETS:
            own = Path(folder) / name
            own.mkdir()
            artifact = package_net(own / "artifact", name)
            found[name] = asyncio.run(_measure(forks, name, artifact, own))
    for name, loads in found.items():
        _print(name, loads)
    print(json.dumps(_summary(found["mlp"]) | {f"conv_{key}": value for key, value in _ratios(found["conv"]).items()}))


async def _measure(forks: ForkServer, name: str, artifact: Artifact, folder: Path) -> Found:
    settings = WorkerSettings(version_threads=1, token_keys=token_keys(folder))
    async with contextlib.AsyncExitStack() as stack:
        ways = {
            "naive": await stack.enter_async_context(_naive(artifact)),
            "mlserver": await stack.enter_async_context(rival.mlserver(name, folder / "mlserver")),
            "pytriton": await stack.enter_async_context(rival.pytriton(name)),
            "worker": await stack.enter_async_context(serve(forks, artifact, settings, name)),
        }
        if artifact.manifest.profile is not None:
            bare = package_net(folder / "unprofiled", name, profiled=False)
            ways[_UNPROFILED] = await stack.enter_async_context(serve(forks, bare, settings, name))
        for way in ways.values():
            await _until_answering(way, name)
        return {n: await take_turns(ways, _ROUNDS, partial(_measured, name=name, in_flight=n)) for n in _IN_FLIGHT}


async def _measured(way: Way, name: str, in_flight: int) -> Load:
    measure = h2load.measure if h2load.available() else load.measure
    return await measure(way.address, MODEL_INFER, request(name), in_flight, _SECONDS, [way.pid])


async def _until_answering(way: Way, name: str) -> None:
    """Waits until the model behind a server answers: h2load would not see that it does not."""
    await until_serving(way.address)
    async with grpc.aio.insecure_channel(way.address) as channel, asyncio.timeout(60):
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(MODEL_INFER)
        while True:
            try:
                await call(request(name), timeout=10)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.2)
            else:
                return


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


def _bare(name: str, batch: int) -> float:
    """Rows per second of a loop that does nothing but run the network."""
    network = nets.make(name)
    given = torch.from_numpy(rows(batch, name))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done, begun = 0, time.perf_counter()
    with torch.inference_mode():
        while (taken := time.perf_counter() - begun) < _LOOP_SECONDS:
            network(given)
            done += batch
    torch.set_num_threads(threads)
    return done / taken


def _print(name: str, found: Found) -> None:
    table = Table("in flight", "server", "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "failed", title=name)
    for in_flight, rounds in found.items():
        for way, loads in rounds.items():
            one = typical(loads)
            table.add_row(
                str(in_flight),
                way,
                f"{one.per_second:,.0f}",
                f"{one.p50 * 1e3:.3f}",
                f"{one.p99 * 1e3:.3f}",
                f"{one.cpu * 1e6:.0f}",
                str(one.failed),
            )
        table.add_row(str(in_flight), "bare torch loop", f"{_bare(name, in_flight):,.0f}", *[""] * 4)
    Console().print(table)


def _ratios(found: Found) -> dict[str, float]:
    alone, together = found[1], found[64]
    return {
        "vs_pytriton": round(paired(together, "worker", "pytriton", _faster), 2),
        "vs_mlserver": round(paired(together, "worker", "mlserver", _faster), 2),
        "p50_vs_pytriton": round(paired(alone, "worker", "pytriton", _latency), 3),
    }


def _summary(found: Found) -> dict[str, object]:
    every = [one for rounds in found.values() for loads in rounds.values() for one in loads]
    return {
        **_ratios(found),
        "vs_naive": round(paired(found[64], "worker", "naive", _faster), 2),
        "counting_cost": round(1 - paired(found[64], "worker", _UNPROFILED, _faster), 3),
        "p50_vs_naive": round(paired(found[1], "worker", "naive", _latency), 3),
        "per_second_at_64": round(typical(found[64]["worker"]).per_second),
        "p50_ms_at_1": round(typical(found[1]["worker"]).p50 * 1e3, 3),
        "client": "h2load" if h2load.available() else "grpc.aio",
        "failed": sum(one.failed for one in every),
    }


def _latency(one: Load, base: Load) -> float:
    return one.p50 / base.p50


def _faster(one: Load, base: Load) -> float:
    return one.per_second / base.per_second


if __name__ == "__main__":
    main()
