"""What a minute of ten times too many calls does to a version, and 100,000 callers that give up.

The version's own counts say what it answered; its processes' memory is theirs alone (USS). By h2load, Debian's
nghttp2-client. `python -m benchmarks.worker_endurance`; the last line is a JSON object.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Final

import grpc
from rich.console import Console
from rich.table import Table

from benchmarks import h2load, load
from benchmarks.load import METHOD, family
from benchmarks.served import Way, answered, package_net, request, serve, until_serving
from services.worker.settings import WorkerSettings
from services.worker.supervisor.process import ForkServer

_NET: Final = "deep"
_CAPACITY_SECONDS: Final = 10.0
_OVERLOAD: Final = 10
_ROUNDS, _ROUND_SECONDS = 6, 10
_CANCELLED: Final = 100_000
_ROUND: Final = 20_000
"""Cancelled calls between two readings of memory; the first round fills caches and is no growth."""
_AT_ONCE: Final = 200


def main() -> None:
    """Measures and prints."""
    if not h2load.available():
        raise SystemExit("h2load is not installed: apt-get install nghttp2-client")
    asyncio.run(_measure())


async def _measure() -> None:
    settings = WorkerSettings(queue_rows=64, max_batch=8, batch_seconds=1.0, version_threads=1, log_level="error")
    with tempfile.TemporaryDirectory() as folder:
        artifact = package_net(Path(folder) / _NET, _NET)
        async with serve(ForkServer(1), artifact, settings, _NET) as way:
            await until_serving(way.address)
            result = await _overload(way) | await _cancelled(way)
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, str(value))
    Console().print(table)
    print(json.dumps(result))


async def _overload(way: Way) -> dict[str, float]:
    body = request(_NET)
    before = await answered(way)
    await load.measure(way.address, METHOD, body, 32, _CAPACITY_SECONDS)
    capacity = (await answered(way) - before) / (_CAPACITY_SECONDS + 0.5)
    started, readings = time.monotonic(), []
    answers, refusals = await answered(way), await answered(way, "RESOURCE_EXHAUSTED")
    for _ in range(_ROUNDS):
        await h2load.offer(way.address, METHOD, body, _OVERLOAD * capacity, _ROUND_SECONDS)
        readings.append(_memory(way))
    took = time.monotonic() - started
    answers, refusals = await answered(way) - answers, await answered(way, "RESOURCE_EXHAUSTED") - refusals
    # Calls under way take memory, more in one round than in the next: what grows is the most of it.
    half = _ROUNDS // 2
    return {
        "capacity_per_s": round(capacity),
        "taken_per_s": round((answers + refusals) / took),
        "goodput": round(answers / took / capacity, 3),
        "overload_memory_mb": round(max(readings[half:]) - max(readings[:half]), 1),
    }


async def _cancelled(way: Way) -> dict[str, float]:
    body = request(_NET)
    readings = []
    async with grpc.aio.insecure_channel(way.address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        for done in range(0, _CANCELLED, _AT_ONCE):
            running = [call(body, timeout=10) for _ in range(_AT_ONCE)]
            # Some leave before their request does, some while it waits, some while it runs.
            await asyncio.sleep(0.002 * (done // _AT_ONCE % 5))
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if (done + _AT_ONCE) % _ROUND == 0:
                readings.append(_memory(way))
    after = await load.measure(way.address, METHOD, body, 8, 3.0)
    return {
        "cancelled": _CANCELLED,
        "cancelled_memory_mb": round(readings[-1] - readings[0], 1),
        "failed_afterwards": after.failed,
    }


def _memory(way: Way) -> float:
    """MB that the version's processes have to themselves."""
    return sum(float(process.memory_full_info().uss) for process in family((way.pid,))) / 1e6


if __name__ == "__main__":
    main()
