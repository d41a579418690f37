"""Closed-loop load by h2load (Debian package nghttp2-client): a client in C that leaves the server to be the limit."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
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
    processes = family(watched)
    before = cpu_seconds(processes)
    found = await _logged(
        ("-c", str(connections), "-m", str(in_flight // connections)), (address, method, body), seconds
    )
    cpu = cpu_seconds(processes) - before
    # The log leaves out the warm-up, whose calls cost CPU too.
    calls = max(1.0, found.per_second * (seconds + _WARM_UP_SECONDS))
    return replace(found, cpu=cpu / calls)


async def paced(address: str, method: str, body: bytes, per_second: int, seconds: int) -> Load:
    """Calls `method` so often over one connection, and says how long it took; no CPU is counted."""
    return await _logged(("-c", "1", "-m", str(_MOST_STREAMS), f"--rps={per_second}"), (address, method, body), seconds)


async def offer(
    address: str,
    method: str,
    body: bytes,
    per_second: float,
    seconds: int,
    *,
    connections: int = _CONNECTIONS,
    niceness: int = 0,
) -> int:
    """Calls `method` so often, whatever comes of it; as long as no connection has a thousand calls under way.

    Args:
        address: host:port.
        method: full name of a unary RPC.
        body: the request.
        per_second: over all connections.
        seconds: how long.
        connections: how many.
        niceness: of the client (nice(1)), where it stands for one on a machine of its own.

    Returns:
        How many calls it has sent.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *("nice", "-n", str(niceness)),
            *("h2load", "-c", str(connections), "-m", str(_MOST_STREAMS), f"--rps={per_second / connections:.0f}"),
            *("-D", str(seconds), *_request(Path(folder), address, method, body)),
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
    found = re.search(rb"(\d+) started", said)
    if found is None:
        raise RuntimeError(f"h2load said nothing of its calls: {said.decode()}")
    return int(found[1])


async def _logged(pace: Sequence[str], call: tuple[str, str, bytes], seconds: int) -> Load:
    """Calls at a pace, as h2load's log has them; no CPU is counted. `call`: address, method, body."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [
            *("h2load", *pace, "-D", str(seconds), f"--warm-up-time={_WARM_UP_SECONDS}", f"--log-file={log}"),
            *_request(Path(folder), *call),
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        await process.wait()
        # Columns: start time, HTTP status, duration (microseconds).
        rows = np.loadtxt(log, dtype=np.int64, ndmin=2)
    latencies = rows[rows[:, 1] == 200, 2] / 1e6
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies.size else (float("nan"), float("nan"))
    return Load(latencies.size / seconds, float(p50), float(p99), 0.0, int(len(rows) - latencies.size))


def _request(folder: Path, address: str, method: str, body: bytes) -> list[str]:
    """What of a command says which call."""
    data = folder / "body"
    # A gRPC message is preceded by a flag (not compressed) and its length.
    data.write_bytes(b"\0" + len(body).to_bytes(4, "big") + body)
    headers = ("-H", "content-type: application/grpc", "-H", "te: trailers")
    return ["-d", str(data), *headers, f"http://{address}{method}"]
