"""What a minute of ten times too many calls does to a version, and 100,000 callers that give up.

The version's own counts say what reached it and how it ended; its processes' memory is theirs alone (USS). The flood
comes from h2load (Debian's nghttp2-client), which waits for no answer. `python -m benchmarks.worker_endurance`; the
last line of its output is a JSON object, and its exit status is 1 when a bound is missed.
"""

import asyncio
import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
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

_NET: Final = "wide"
"""So slow a model that ten times its capacity can reach a version: a call turned away costs what an answer does."""
_CAPACITY_SECONDS: Final = 10.0
_OVERLOAD, _OVERLOAD_SECONDS = 10, 60
_CONNECTIONS: Final = 16
"""So many that none has a thousand calls under way, and that each front-end gets some."""
_CANCELLED: Final = 100_000
_ROUND: Final = 10_000
"""Cancelled calls between two readings of memory."""
_AT_ONCE: Final = 200
_OUTCOMES: Final = ("ok", "RESOURCE_EXHAUSTED", "CANCELLED", "DEADLINE_EXCEEDED")

_LEAST_TIMES: Final = 5.0
"""What arrives at least, of the capacity: else it was no overload."""
_LEAST_GOODPUT: Final = 0.9
_MOST_OVERLOAD_MB: Final = 60.0
"""Of three processes. What a flood leaves hanging on them goes up and down by half as much; of 75,000 calls in the
later half, 800 bytes of each would be more."""
_MOST_CANCELLED_MB: Final = 30.0
"""600 bytes of each of the later half would be more; readings go up and down by 20 MB."""


def main() -> None:
    """Measures, prints, and ends with what was missed."""
    if not h2load.available():
        raise SystemExit("h2load is not installed: apt-get install nghttp2-client")
    found = asyncio.run(_measure())
    if found:
        raise SystemExit("; ".join(found))


async def _measure() -> list[str]:
    settings = WorkerSettings(queue_rows=256, max_batch=2, batch_seconds=1.0, version_threads=1, log_level="error")
    with tempfile.TemporaryDirectory() as folder:
        artifact = package_net(Path(folder) / _NET, _NET)
        async with serve(ForkServer(1), artifact, settings, _NET) as way:
            await until_serving(way.address)
            result = await _overload(way) | await _cancelled(way)
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, str(value))
    Console().print(table)
    print(json.dumps(result), flush=True)
    return missed(result)


def missed(result: Mapping[str, float]) -> list[str]:
    """What of a run is not as it is to be, in words."""
    bounds = (
        ("arrived_times", result["arrived_times"] >= _LEAST_TIMES, f"at least {_LEAST_TIMES}"),
        ("goodput", result["goodput"] >= _LEAST_GOODPUT, f"at least {_LEAST_GOODPUT}"),
        ("overload_memory_mb", result["overload_memory_mb"] <= _MOST_OVERLOAD_MB, f"at most {_MOST_OVERLOAD_MB}"),
        ("cancelled", result["cancelled"] >= _CANCELLED, f"at least {_CANCELLED}"),
        ("cancelled_memory_mb", result["cancelled_memory_mb"] <= _MOST_CANCELLED_MB, f"at most {_MOST_CANCELLED_MB}"),
        ("failed_afterwards", result["failed_afterwards"] == 0, "0"),
    )
    return [f"{name} is {result[name]}, and was to be {bound}" for name, met, bound in bounds if not met]


async def _overload(way: Way) -> dict[str, float]:
    body = request(_NET)
    before = await answered(way)
    # The client goes on for half a second before it measures.
    await load.measure(way.address, METHOD, body, 32, _CAPACITY_SECONDS)
    capacity = (await answered(way) - before) / (_CAPACITY_SECONDS + 0.5)
    ended = await _outcomes(way)
    readings: list[float] = []
    async with _watched(way, readings):
        offered = _OVERLOAD * capacity
        sent = await h2load.offer(way.address, METHOD, body, offered, _OVERLOAD_SECONDS, connections=_CONNECTIONS)
    ended = await _outcomes(way) - ended
    arrived = ended.total() / _OVERLOAD_SECONDS
    return {
        "capacity_per_s": round(capacity),
        "offered_per_s": round(offered),
        "sent_per_s": round(sent / _OVERLOAD_SECONDS),
        "arrived_per_s": round(arrived),
        "arrived_times": round(arrived / capacity, 2),
        "answered_per_s": round(ended["ok"] / _OVERLOAD_SECONDS),
        "goodput": round(ended["ok"] / _OVERLOAD_SECONDS / capacity, 3),
        "overload_memory_mb": growth(readings),
    }


async def _cancelled(way: Way) -> dict[str, float]:
    """Has calls given up until the version has counted so many of them: of those answered first, it has not."""
    body = request(_NET)
    readings: list[float] = []
    before = await answered(way, "CANCELLED")
    made = cancelled = 0
    async with grpc.aio.insecure_channel(way.address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        while cancelled < _CANCELLED and made < 10 * _CANCELLED:
            running = [call(body, timeout=30) for _ in range(_AT_ONCE)]
            made += _AT_ONCE
            # Some leave while their request is read or written, most while it waits or runs.
            await asyncio.sleep(0.08 + 0.03 * (made // _AT_ONCE % 5))
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            cancelled = await answered(way, "CANCELLED") - before
            if cancelled >= _ROUND * (len(readings) + 1):
                readings.append(_memory(way))
    after = await load.measure(way.address, METHOD, body, 8, 3.0)
    return {
        "given_up": made,
        "cancelled": cancelled,
        "cancelled_memory_mb": growth(readings),
        "failed_afterwards": after.failed,
    }


async def _outcomes(way: Way) -> Counter[str]:
    """How the version's calls have ended, as it has counted them."""
    return Counter({name: await answered(way, name) for name in _OUTCOMES})


@contextlib.asynccontextmanager
async def _watched(way: Way, readings: list[float]) -> AsyncIterator[None]:
    """Reads its memory every second meanwhile."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(1.0)
            readings.append(_memory(way))

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _memory(way: Way) -> float:
    """MB that the version's processes have to themselves."""
    return sum(float(process.memory_full_info().uss) for process in family((way.pid,))) / 1e6


def growth(readings: Sequence[float]) -> float:
    """From the most in the first half to the most in the second: what calls under way take goes up and down."""
    half = len(readings) // 2
    return round(max(readings[half:]) - max(readings[:half]), 1)


if __name__ == "__main__":
    main()
