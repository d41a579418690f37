"""What a version answers over gRPC, by its front-ends and the calls in flight; on a GPU where there is one.

h2load beside it (Debian package nghttp2-client), calls of one row. An MLP, whose inputs are counted, is done in no
time, so that Python's side of gRPC is the limit; a transformer over 64 patches keeps a processor busy for 10 ms a row.
`python -m benchmarks.worker_served --front-ends 2 6`; the last line is a JSON object.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import h2load
from benchmarks.load import MODEL_INFER, Load
from benchmarks.served import package_net, request, serve, token_keys, until_serving
from crossfade.artifact import Artifact
from services.worker.settings import WorkerSettings
from services.worker.supervisor.process import ForkServer

_IN_FLIGHT: Final = (1, 64, 256)
_NETS: Final = ("mlp", "patches")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--front-ends", type=int, nargs="+", default=[2])
    parser.add_argument("--nets", nargs="+", default=list(_NETS))
    parser.add_argument("--compile", action="store_true", help="have programs compiled (CROSSFADE_COMPILE_PROGRAMS)")
    parser.add_argument("--seconds", type=int, default=2, help="of each figure")
    asked = parser.parse_args()
    if not h2load.available():
        raise SystemExit("h2load is not installed: apt-get install nghttp2-client")
    forks = ForkServer(1)
    table = Table("network", "front-ends", "in flight", "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "failed")
    result: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        keys = token_keys(Path(folder))
        for name in asked.nets:
            artifact = package_net(Path(folder) / name, name)
            for front_ends in asked.front_ends:
                settings = WorkerSettings(
                    device=asked.device,
                    front_ends=front_ends,
                    token_keys=keys,
                    batch_seconds=1.0,
                    compile_programs=asked.compile,
                    artifact_cache=Path(folder),
                )
                found = asyncio.run(_measure(forks, artifact, settings, name, asked.seconds))
                for in_flight, one in zip(_IN_FLIGHT, found, strict=True):
                    p50, p99 = one.p50 * 1e3, one.p99 * 1e3
                    figures = (f"{one.per_second:,.0f}", f"{p50:.2f}", f"{p99:.1f}", f"{one.cpu * 1e6:.0f}")
                    table.add_row(name, str(front_ends), str(in_flight), *figures, str(one.failed))
                    result[f"{name}_{front_ends}_{in_flight}"] = [round(one.per_second), round(p50, 2), round(p99, 1)]
    Console().print(table)
    print(json.dumps(result))


async def _measure(
    forks: ForkServer, artifact: Artifact, settings: WorkerSettings, name: str, seconds: int
) -> Sequence[Load]:
    async with serve(forks, artifact, settings, name) as way:
        await until_serving(way.address)
        call = way.address, MODEL_INFER, request(name)
        return [await h2load.measure(*call, in_flight, seconds, [way.pid]) for in_flight in _IN_FLIGHT]


if __name__ == "__main__":
    main()
