"""What a version pays for its neighbours: one that is flooded, and one that is being loaded.

Versions of one Worker with a thread each. The first gets 100 calls a second from a client in C, which says how long
each took: alone, beside a flood of a second (ten times what it answers), and while a third is loaded, verified and
ended again and again. Twice: all on all processors, and each on one of its own (`CROSSFADE_VERSION_CORES=1`). By
h2load, Debian's nghttp2-client. `python -m benchmarks.worker_neighbours`; the last line is a JSON object.
"""

import asyncio
import contextlib
import json
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import h2load, load
from benchmarks.load import METHOD, Load
from benchmarks.served import Way, answered, package_net, request, serve, until_serving
from crossfade.artifact import Artifact
from services.worker.settings import WorkerSettings
from services.worker.supervisor.cores import share
from services.worker.supervisor.process import ForkServer

_QUIET, _FLOODED = "mlp", "deep"
_PER_SECOND: Final = 100
_ROUNDS, _SECONDS = 5, 10
_OVERLOAD: Final = 10
_CAPACITY_SECONDS: Final = 5.0
_WAYS: Final = (("shared", 0), ("own", 1))
"""What figures are called, and how many processors a version has to itself."""


@dataclass(slots=True)
class _Found:
    """A round's loads of the first version, one per round, and what the flooded one answered a second."""

    alone: list[Load] = field(default_factory=list)
    flood: list[Load] = field(default_factory=list)
    loading: list[Load] = field(default_factory=list)
    flooded: list[float] = field(default_factory=list)


def main() -> None:
    """Measures and prints."""
    if not h2load.available():
        raise SystemExit("h2load is not installed: apt-get install nghttp2-client")
    asyncio.run(_measure())


async def _measure() -> None:
    found = {name: _Found() for name, _ in _WAYS}
    with tempfile.TemporaryDirectory() as folder:
        quiet, flooded = (package_net(Path(folder) / name, name) for name in (_QUIET, _FLOODED))
        forks = ForkServer(1)
        for _ in range(_ROUNDS):
            for name, cores in _WAYS:
                await _round(forks, (quiet, flooded), cores, found[name])
    table = Table("processors", "neighbours", "p50 ms", "p99 ms", "p99, times alone", "failed", "flooded: answers/s")
    result: dict[str, float] = {}
    for name, one in found.items():
        for neighbours, loads in (("alone", one.alone), ("flood", one.flood), ("loading", one.loading)):
            flooded_per_s = round(statistics.median(one.flooded)) if neighbours == "flood" else 0
            p50, p99 = (statistics.median(getattr(each, figure) for each in loads) * 1e3 for figure in ("p50", "p99"))
            times = statistics.median(each.p99 / alone.p99 for each, alone in zip(loads, one.alone, strict=True))
            failed = sum(each.failed for each in loads)
            answers = str(flooded_per_s) if flooded_per_s else ""
            table.add_row(name, neighbours, f"{p50:.2f}", f"{p99:.2f}", f"{times:.2f}", str(failed), answers)
            at = f"{name}_{neighbours}"
            result |= {f"{at}_p50_ms": round(p50, 2), f"{at}_p99_ms": round(p99, 2), f"{at}_failed": failed}
            if neighbours != "alone":
                result[f"{at}_times"] = round(times, 2)
            if flooded_per_s:
                result[f"{name}_flooded_per_s"] = flooded_per_s
    Console().print(table)
    print(json.dumps(result))


async def _round(forks: ForkServer, artifacts: tuple[Artifact, Artifact], cores: int, found: _Found) -> None:
    settings = WorkerSettings(version_threads=1, version_cores=cores, log_level="error")
    quiet, flooded = artifacts
    first = _share(cores, ())
    second = _share(cores, (first,))
    async with serve(forks, quiet, settings, _QUIET, first) as way:
        await until_serving(way.address)
        await _calls(way)
        found.alone.append(await _calls(way))
        async with serve(forks, flooded, settings, _FLOODED, second) as other:
            await until_serving(other.address)
            capacity = await load.measure(other.address, METHOD, request(_FLOODED), 32, _CAPACITY_SECONDS)
            async with _beside(_flood(other, _OVERLOAD * capacity.per_second)):
                before = await answered(other)
                found.flood.append(await _calls(way))
                found.flooded.append((await answered(other) - before) / (_SECONDS + 1))
        async with _beside(_loading(forks, quiet, settings, second)):
            found.loading.append(await _calls(way))


def _share(wanted: int, taken: Sequence[frozenset[int]]) -> frozenset[int]:
    """As a Worker shares them out."""
    return share(taken, os.sched_getaffinity(0), wanted)


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


async def _loading(forks: ForkServer, artifact: Artifact, settings: WorkerSettings, cores: frozenset[int]) -> None:
    while True:
        async with serve(forks, artifact, settings, "third", cores) as way:
            await until_serving(way.address)


if __name__ == "__main__":
    main()
