"""What a version pays for its neighbours: one that is flooded, and one that is being loaded.

Three versions of one Worker with a thread each. The first gets 100 calls a second from a client in C, which says how
long each took: with idle neighbours, beside a flood of the second (ten times what it answers), and while the third is
loaded, verified and ended again and again. By h2load, Debian's nghttp2-client.
`python -m benchmarks.worker_neighbours`; the last line is a JSON object.
"""

import asyncio
import contextlib
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import h2load, load
from benchmarks.load import METHOD, Load
from benchmarks.served import Way, package_net, request, serve, until_serving
from crossfade.artifact import Artifact
from services.worker.process import ForkServer
from services.worker.settings import WorkerSettings

_QUIET, _FLOODED = "mlp", "deep"
_PER_SECOND: Final = 100
_ROUNDS, _SECONDS = 5, 10
_OVERLOAD: Final = 10
_CAPACITY_SECONDS: Final = 5.0


def main() -> None:
    """Measures and prints."""
    if not h2load.available():
        raise SystemExit("h2load is not installed: apt-get install nghttp2-client")
    asyncio.run(_measure())


async def _measure() -> None:
    settings = WorkerSettings(version_threads=1, log_level="error")
    with tempfile.TemporaryDirectory() as folder:
        quiet, flooded = (package_net(Path(folder) / name, name) for name in (_QUIET, _FLOODED))
        forks = ForkServer(1)
        async with serve(forks, quiet, settings, _QUIET) as first, serve(forks, flooded, settings, _FLOODED) as second:
            for way in (first, second):
                await until_serving(way.address)
            capacity = await load.measure(second.address, METHOD, request(_FLOODED), 32, _CAPACITY_SECONDS)
            found: dict[str, list[Load]] = {"alone": [], "flood": [], "loading": []}
            for _ in range(_ROUNDS):
                found["alone"].append(await _calls(first))
                async with _beside(_flood(second, _OVERLOAD * capacity.per_second)):
                    found["flood"].append(await _calls(first))
                async with _beside(_loading(forks, quiet, settings)):
                    found["loading"].append(await _calls(first))
    table = Table("neighbours", "p50 ms", "p99 ms", "p99, times alone", "failed")
    result: dict[str, float] = {}
    for name, loads in found.items():
        p50, p99 = (statistics.median(getattr(one, figure) for one in loads) * 1e3 for figure in ("p50", "p99"))
        times = statistics.median(one.p99 / alone.p99 for one, alone in zip(loads, found["alone"], strict=True))
        failed = sum(one.failed for one in loads)
        table.add_row(name, f"{p50:.2f}", f"{p99:.2f}", f"{times:.2f}", str(failed))
        result |= {f"{name}_p50_ms": round(p50, 2), f"{name}_p99_ms": round(p99, 2), f"{name}_failed": failed}
        if name != "alone":
            result[f"{name}_times"] = round(times, 2)
    Console().print(table)
    print(json.dumps(result))


async def _calls(way: Way) -> Load:
    return await h2load.paced(way.address, METHOD, request(_QUIET), _PER_SECOND, _SECONDS)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        await asyncio.sleep(1.0)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _flood(way: Way, per_second: float) -> None:
    # Its processor time would be another machine's.
    await h2load.offer(way.address, METHOD, request(_FLOODED), per_second, _SECONDS + 2, niceness=19)


async def _loading(forks: ForkServer, artifact: Artifact, settings: WorkerSettings) -> None:
    while True:
        async with serve(forks, artifact, settings, "third") as way:
            await until_serving(way.address)


if __name__ == "__main__":
    main()
