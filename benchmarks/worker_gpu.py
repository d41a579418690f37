"""What the engine makes of a device: full and mixed precision, with and without graphs, beside a bare torch loop.

One process, no server: batches of 1, 8 and 64 rows through `Engine.begin`, two under way as a Worker has them and one
at a time, against a loop of `model(x.to(device)).cpu()` in the precision that the engine settled on.
`python -m benchmarks.worker_gpu` takes a GPU where there is one (`--device cpu` for a look at the rest); the last line
is a JSON object.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import nets
from benchmarks.served import package_net, rows
from crossfade.manifest import MANIFEST_FILE, Precision, loads
from services.common.clock import SystemClock
from services.worker.engine.engine import MIXED, Begun, Engine, choose_device
from services.worker.engine.loader import load_program
from services.worker.engine.verify import prepare
from services.worker.settings import WorkerSettings
from services.worker.shared_memory.tensors import Array

_NETS: Final = ("mlp", "conv", "deep", "patches")
_SIZES: Final = (1, 8, 64)
_WAYS: Final = ("fp32 eager rows/s", "fp32 with graphs", "settled", "one at a time", "bare loop")
_ROUNDS: Final = 5


Way = Callable[[float], int]
"""Runs batches for so many seconds, and says how many."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way's turn")
    parser.add_argument("--compile", action="store_true", help="have programs compiled (CROSSFADE_COMPILE_PROGRAMS)")
    asked = parser.parse_args()
    device = choose_device(asked.device)
    # As a version has them that shares a processor with others.
    torch.set_num_threads(1)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.cpu.get_capabilities()["cpu_name"]
    table = Table("network", "rows", *_WAYS, "settled on", title=str(where))
    result: dict[str, object] = {"device": str(where), "torch": torch.__version__}
    shares, shares_alone, speedups = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in _NETS:
            artifact = package_net(Path(folder) / name, name)
            manifest = loads((artifact.path / MANIFEST_FILE).read_bytes())
            eager, recorded = (Engine(load_program(artifact.path, manifest), manifest, device) for _ in range(2))
            recorded.record(_SIZES)
            settings = WorkerSettings(
                device=str(device), batch_seconds=1.0, compile_programs=asked.compile, artifact_cache=Path(folder)
            )
            settled = prepare(artifact.path, manifest, settings, SystemClock(), time.monotonic())
            for size in _SIZES:
                ways = _ways(eager, recorded, settled.engine, name, size)
                found = [batches * size for batches in _take_turns(ways, asked.seconds)]
                full, _, ours, alone, bare = found
                shares.append(ours / bare)
                shares_alone.append(alone / bare)
                if settled.engine.precision in MIXED:
                    speedups.append(ours / full)
                table.add_row(name, str(size), *(f"{round(one):,}" for one in found), settled.report.precision)
                result[f"{name}_{size}"] = [round(one) for one in found]
            result[f"{name}_why"] = settled.report.precision_reason
    Console().print(table)
    figures = {"bare_share": shares, "bare_share_alone": shares_alone}
    least = {name: round(min(ratios), 3) for name, ratios in figures.items()}
    print(json.dumps(result | least | {"amp_speedup": round(max(speedups, default=0.0), 2)}))


def _ways(eager: Engine, recorded: Engine, settled: Engine, name: str, size: int) -> list[Way]:
    model, device = nets.make(name).to(settled.device), settled.device
    given = [np.array(rows(size, name)) for _ in range(2)]
    mixed = MIXED.get(settled.precision)

    def bare(seconds: float) -> int:
        until, done = time.monotonic() + seconds, 0
        # Autocast remembers the weights that it has cast, but not in inference mode.
        without_gradients = torch.inference_mode() if mixed is None else torch.no_grad()
        with without_gradients, torch.autocast(device.type, dtype=mixed, enabled=mixed is not None):
            while time.monotonic() < until:
                model(torch.from_numpy(given[done % 2]).to(device)).cpu().float().numpy()
                done += 1
        return done

    full = (_through(engine, given, Precision.FP32) for engine in (eager, recorded))
    return [*full, _through(settled, given), _through(settled, given, alone=True), bare]


def _through(engine: Engine, given: Sequence[Array], precision: Precision | None = None, *, alone: bool = False) -> Way:
    def run(seconds: float) -> int:
        until, done = time.monotonic() + seconds, 0
        before: Begun | None = None
        while time.monotonic() < until:
            begun = engine.begin([given[done % 2]], precision)
            if before is not None:
                before.wait()
            before = begun if isinstance(begun, Begun) else None
            if alone and before is not None:
                before.wait()
                before = None
            done += 1
        if before is not None:
            before.wait()
        return done

    return run


def _take_turns(ways: list[Way], seconds: float) -> list[float]:
    """Batches a second of each way, the median over rounds in which each has its turn."""
    found: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way(seconds / 4)
    for _ in range(_ROUNDS):
        for place, way in enumerate(ways):
            begun = time.monotonic()
            done = way(seconds)
            found[place].append(done / (time.monotonic() - begun))
    return [statistics.median(one) for one in found]


if __name__ == "__main__":
    main()
