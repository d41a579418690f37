"""Closed-loop load by h2load (Debian package nghttp2-client): a client in C that leaves the server to be the limit."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.load import Load, cpu_seconds, family

_CONNECTIONS = 4
_WARM_UP_SECONDS = 1
_MOST_STREAMS = 1_000


def available() -> bool:
    """Whether h2load is installed."""
    return shutil.which("h2load") is not None


async def measure(
    address: str, method: str, body: bytes, in_flight: int, seconds: int, watched: Iterable[int] = ()
) -> Load:
    """As `benchmarks.load.measure`, by h2load; failures are calls that got no HTTP answer of status 200."""
    connections = 1 if in_flight == 1 else _CONNECTIONS
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [
            *("h2load", "-c", str(connections), "-m", str(in_flight // connections)),
            *("-D", str(seconds), f"--warm-up-time={_WARM_UP_SECONDS}", f"--log-file={log}"),
            *_request(Path(folder), address, method, body),
        ]
        processes = family(watched)
        before = cpu_seconds(processes)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        await process.wait()
        cpu = cpu_seconds(processes) - before
        # Columns: start time, HTTP status, duration (microseconds).
        rows = np.loadtxt(log, dtype=np.int64, ndmin=2)
    latencies = rows[rows[:, 1] == 200, 2] / 1e6
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies.size else (float("nan"), float("nan"))
    # The log leaves out the warm-up, whose calls cost CPU too.
    calls = max(1.0, latencies.size * (seconds + _WARM_UP_SECONDS) / seconds)
    return Load(latencies.size / seconds, float(p50), float(p99), cpu / calls, int(len(rows) - latencies.size))


async def paced(address: str, method: str, body: bytes, per_second: int, seconds: int) -> Load:
    """Calls `method` so often over one connection, and says how long it took; no CPU is counted."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [
            *("h2load", "-c", "1", "-m", str(_MOST_STREAMS), f"--rps={per_second}"),
            *("-D", str(seconds), f"--warm-up-time={_WARM_UP_SECONDS}", f"--log-file={log}"),
            *_request(Path(folder), address, method, body),
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        await process.wait()
        rows = np.loadtxt(log, dtype=np.int64, ndmin=2)
    latencies = rows[rows[:, 1] == 200, 2] / 1e6
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies.size else (float("nan"), float("nan"))
    return Load(latencies.size / seconds, float(p50), float(p99), 0.0, int(len(rows) - latencies.size))


async def offer(address: str, method: str, body: bytes, per_second: float, seconds: int, niceness: int = 0) -> None:
    """Calls `method` so often, whatever comes of it; as long as no connection has a thousand calls under way.

    `niceness`: of the client (nice(1)), where it stands for one on a machine of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *("nice", "-n", str(niceness)),
            *("h2load", "-c", str(_CONNECTIONS), "-m", str(_MOST_STREAMS), f"--rps={per_second / _CONNECTIONS:.0f}"),
            *("-D", str(seconds), *_request(Path(folder), address, method, body)),
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        await process.wait()


def _request(folder: Path, address: str, method: str, body: bytes) -> list[str]:
    """What of a command says which call."""
    data = folder / "body"
    # A gRPC message is preceded by a flag (not compressed) and its length.
    data.write_bytes(b"\0" + len(body).to_bytes(4, "big") + body)
    headers = ("-H", "content-type: application/grpc", "-H", "te: trailers")
    return ["-d", str(data), *headers, f"http://{address}{method}"]
