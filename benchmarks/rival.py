"""Starts the servers that the Worker is measured beside, each in an environment of its own.

Their further ports follow the one for gRPC, and are most likely free too.
"""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from benchmarks import nets
from benchmarks.environments import environment
from benchmarks.served import Way
from services.common.ports import free_port

_TORCH: Final = "torch==2.13.0"
_ROOT: Final = Path(__file__).parent.parent
_END_SECONDS: Final = 20


@contextlib.asynccontextmanager
async def pytriton(name: str) -> AsyncIterator[Way]:
    """PyTriton, in Debian's own Python: its stub process finds no other's library."""
    python = shutil.which("python3", path="/usr/bin") or "python3"
    binaries = environment("pytriton", "nvidia-pytriton==0.7.0", "numpy<2", _TORCH, python=python)
    port = free_port()
    command = [str(binaries / "python"), "-m", "benchmarks.rivals.pytriton_server", name, str(port)]
    async with _running(command, port) as way:
        yield way


@contextlib.asynccontextmanager
async def mlserver(name: str, folder: Path) -> AsyncIterator[Way]:
    """MLServer, its model in the server's process (with processes of their own it was slower)."""
    binaries = environment("mlserver", "mlserver==1.7.1", _TORCH)
    port = free_port()
    _configure_mlserver(folder, name, port)
    async with _running([str(binaries / "mlserver"), "start", str(folder)], port) as way:
        yield way


def _configure_mlserver(folder: Path, name: str, port: int) -> None:
    folder.mkdir()
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": port + 1,
        "metrics_port": port + 2,
    }
    shape = [-1, *nets.SHAPES[name]]
    model = {
        "name": name,
        "implementation": "benchmarks.rivals.mlserver_runtime.Runtime",
        "max_batch_size": 64,
        "max_batch_time": 0.001,
        "inputs": [{"name": "input", "datatype": "FP32", "shape": shape}],
        "outputs": [{"name": "output", "datatype": "FP32", "shape": [-1, nets.CLASSES]}],
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))


@contextlib.asynccontextmanager
async def _running(command: list[str], port: int) -> AsyncIterator[Way]:
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **threads, "PYTHONPATH": str(_ROOT)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Way(f"127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        if process.returncode is None:
            process.kill()
            await process.wait()
