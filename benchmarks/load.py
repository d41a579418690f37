"""Closed-loop load on one RPC that takes and gives bytes: so many calls in flight, for so long."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np
import psutil

METHOD: Final = "/crossfade.predict.v1.PredictionService/Predict"
MODEL_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured.

    Attributes:
        per_second: calls answered per second.
        p50: median latency, seconds.
        p99: 99th percentile of the latency, seconds.
        cpu: seconds of CPU per call of the processes that were watched.
        failed: calls that failed.
    """

    per_second: float
    p50: float
    p99: float
    cpu: float
    failed: int


async def measure(
    address: str, method: str, body: bytes, in_flight: int, seconds: float, watched: Iterable[int] = ()
) -> Load:
    """Calls `method` at `address` with `in_flight` calls at a time.

    Args:
        address: host:port.
        method: full name of a unary RPC.
        body: the request.
        in_flight: calls at a time.
        seconds: how long, after half a second of warming up.
        watched: ids of the processes whose CPU time is counted.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        await _drive(call, body, in_flight, 0.5)
        processes = family(watched)
        before = cpu_seconds(processes)
        started = time.perf_counter()
        latencies, failed = await _drive(call, body, in_flight, seconds)
        elapsed = time.perf_counter() - started
        cpu = (cpu_seconds(processes) - before) / max(1, len(latencies))
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies else (float("nan"), float("nan"))
    return Load(len(latencies) / elapsed, float(p50), float(p99), cpu, failed)


async def _drive(
    call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", body: bytes, in_flight: int, seconds: float
) -> tuple[list[float], int]:
    latencies: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def loop() -> None:
        nonlocal failed
        while (started := time.perf_counter()) < end:
            try:
                await call(body, timeout=10)
            except grpc.aio.AioRpcError:
                failed += 1
            else:
                latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(loop() for _ in range(in_flight)))
    return latencies, failed


def family(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes and their children."""
    processes = [psutil.Process(pid) for pid in pids]
    return [*processes, *(child for one in processes for child in one.children(recursive=True))]


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """What they have used of the processors so far."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)
