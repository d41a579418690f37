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
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import h2load, load
from benchmarks.load import Load
from crossfade.artifact import Artifact, package
from crossfade.predict.v1 import predict_pb2
from services.worker import messages
from services.worker.domain import Context, LaneContext, ServingKey, Traffic
from services.worker.process import ForkServer, VersionProcess
from services.worker.process_config import ChildConfig
from services.worker.settings import Handoff, WorkerSettings

_SECONDS: Final = 2
_ROUNDS: Final = 5
_IN_FLIGHT: Final = (1, 64)
_METHOD: Final = "/crossfade.predict.v1.PredictionService/Predict"


@dataclass(frozen=True, slots=True)
class Way:
    """A server of the model: its address and process."""

    address: str
    pid: int


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    artifact = _package(folder / "mlp")
    keys = folder / "keys"
    keys.write_text("1 " + "5a" * 32 + "\n")
    forks = ForkServer(1)
    async with contextlib.AsyncExitStack() as stack:
        ways = {"naive": await stack.enter_async_context(_naive(artifact))}
        for handoff in Handoff:
            settings = WorkerSettings(version_threads=1, handoff=handoff, token_keys=keys)
            ways[handoff.value] = await stack.enter_async_context(_worker(forks, artifact, settings))
        for way in ways.values():
            await _wait(way.address)
        loads = {(name, n): one for n in _IN_FLIGHT for name, one in (await _rounds(ways, n)).items()}
    _print(loads)


def _package(folder: Path) -> Artifact:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(256, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 10),
    )
    rows = _rows(500)
    classes = [str(index) for index in range(10)]
    return package(layers, example=rows[:32], reference=rows, task="classification", classes=classes, to=folder)


def _rows(count: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    return np.random.default_rng(0).standard_normal((count, 256), dtype=np.float32)


@contextlib.asynccontextmanager
async def _naive(artifact: Artifact) -> AsyncIterator[Way]:
    address = _free_address()
    command = [sys.executable, "-m", "benchmarks.naive_servicer", str(artifact.path), address]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        yield Way(address, process.pid)
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def _worker(forks: ForkServer, artifact: Artifact, settings: WorkerSettings) -> AsyncIterator[Way]:
    address = _free_address()
    key = ServingKey("mlp", "v1", Traffic.LIVE)
    process = await forks.start(ChildConfig(key, artifact.path, address, settings, "benchmark", time.monotonic()))
    process.send(messages.Tell(Context((LaneContext("", 1, 300.0),)), ()))
    following = asyncio.create_task(_follow(process))
    try:
        yield Way(address, process.pid)
    finally:
        process.kill()
        await following


async def _follow(process: VersionProcess) -> None:
    async for message in process.reports():
        if isinstance(message, messages.Failed):
            raise RuntimeError(message.message)


async def _wait(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        async with asyncio.timeout(60):
            await channel.channel_ready()


async def _rounds(ways: dict[str, Way], in_flight: int) -> dict[str, Load]:
    """The round of median throughput of each way; the ways take turns, so that a busy moment hits them all."""
    measure = h2load.measure if h2load.available() else load.measure
    rounds: dict[str, list[Load]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            rounds[name].append(await measure(way.address, _METHOD, _request(), in_flight, _SECONDS, [way.pid]))
    return {name: sorted(loads, key=lambda one: one.per_second)[_ROUNDS // 2] for name, loads in rounds.items()}


def _request() -> bytes:
    request = predict_pb2.PredictRequest(model_name="mlp", id="1", raw_input_contents=[_rows(1).tobytes()])
    request.inputs.add(name="input", datatype="FP32", shape=(1, 256))
    return request.SerializeToString()


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _print(loads: dict[tuple[str, int], Load]) -> None:
    table = Table("in flight", "way", "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "failed")
    for (name, in_flight), one in loads.items():
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
    auto = {n: loads["auto", n] for n in _IN_FLIGHT}
    naive = {n: loads["naive", n] for n in _IN_FLIGHT}
    print(
        json.dumps(
            {
                "added_ms_at_1": round((auto[1].p50 - naive[1].p50) * 1e3, 4),
                "thread_added_ms_at_1": round((loads["thread", 1].p50 - naive[1].p50) * 1e3, 4),
                "gain_at_64": round(auto[64].per_second / naive[64].per_second, 3),
                "per_second_at_64": round(auto[64].per_second),
                "p50_ms_at_1": round(auto[1].p50 * 1e3, 3),
                "client": "h2load" if h2load.available() else "grpc.aio",
                "failed": sum(one.failed for one in loads.values()),
            }
        )
    )


if __name__ == "__main__":
    main()
