"""From commit to delivery: a hundred watchers over two replicas, changes written through either.

A change's commit is when its RPC answers, or earlier; delivery is when a watcher has read it. So what is shown is at
most the answer's way back too little. `python -m benchmarks.watch_latency`; the last line is a JSON object.
"""

import asyncio
import json
import time
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.registries import new_id, registries
from crossfade.registry.v1 import service_pb2

_WATCHERS: Final = 100
_CHANGES: Final = 100
_PAUSE_SECONDS: Final = 0.05


def main() -> None:
    """Measures and prints."""
    asyncio.run(_measure())


async def _measure() -> None:
    async with registries(2) as started:
        seen: list[dict[int, float]] = [{} for _ in range(_WATCHERS)]
        watching = [asyncio.create_task(_watch(started.stubs[number % 2], seen[number])) for number in range(_WATCHERS)]
        while not all(0 in one for one in seen):
            await asyncio.sleep(0.05)
        committed: dict[int, tuple[float, int]] = {}
        for number in range(1, _CHANGES + 1):
            writer = number % 2
            request = service_pb2.CreateModelRequest(model_id=f"m{number}", request_id=new_id())
            await started.stubs[writer].CreateModel(request)
            committed[number] = (time.monotonic(), writer)
            await asyncio.sleep(_PAUSE_SECONDS)
        async with asyncio.timeout(30):
            while not all(_CHANGES in one for one in seen):
                await asyncio.sleep(0.05)
        for task in watching:
            task.cancel()
    same: list[float] = []
    other: list[float] = []
    missed = 0
    for number, one in enumerate(seen):
        for revision, (at, writer) in committed.items():
            if revision not in one:
                missed += 1
                continue
            (same if number % 2 == writer else other).append(max(0.0, one[revision] - at))
    table = Table("watchers of", "p50 ms", "p99 ms", "longest ms")
    for name, seconds in (("the replica that wrote", same), ("the other one", other)):
        p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
        table.add_row(name, f"{p50:.1f}", f"{p99:.1f}", f"{max(seconds) * 1e3:.1f}")
    Console().print(table)
    p50, p99 = np.percentile([*same, *other], (50, 99)) * 1e3
    print(json.dumps({"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "watchers": _WATCHERS, "missed": missed}))


async def _watch(stub: Any, seen: dict[int, float]) -> None:
    async for response in stub.WatchRoutes(service_pb2.WatchRoutesRequest()):
        seen.setdefault(response.revision, time.monotonic())


if __name__ == "__main__":
    main()
