"""The life of a version's process: crashes, orphans, ends, and what keeps it from starting."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import psutil
from grpc import aio

from services.common.telemetry import catalog
from tests.fakes.models import reference_rows
from tests.fakes.registry import FakeRegistry, lane
from tests.support.processes import is_alive
from tests.support.wait import until, until_async
from tests.support.worker import counted, metrics


def pid_of(app: Any, version: str = "v1") -> int:
    """The process that serves a version; 0: none does."""
    found: int = next((pid for key, pid in app.supervisor.pids().items() if key.version == version), 0)
    return found


async def kill(app: Any) -> None:
    """Kills the process of v1 and waits until another one runs."""
    pid = pid_of(app)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid_of(app) not in (0, pid), 60)


async def test_a_crash_is_restarted_at_the_same_address_and_a_second_one_fails(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(scale=3.0), "v0"), want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    for _ in range(5):
        await caller.predict(reference_rows(1))
    await until_async(lambda: has_counted(app, 5))
    first = registry.serving("scores", "v1")
    await kill(app)
    await until(lambda: registry.state("scores", "v1") == "READY", 60)
    again = registry.serving("scores", "v1")
    assert first is not None
    assert again is not None
    assert again.address == first.address

    async def answers() -> bool:
        with contextlib.suppress(aio.AioRpcError):
            return bool(await caller.predict(reference_rows(1)))
        return False

    await until_async(answers)
    await until_async(lambda: has_counted(app, 6))
    os.kill(pid_of(app), signal.SIGKILL)
    await until(lambda: registry.state("scores", "v1") == "FAILED")
    failed = registry.serving("scores", "v1")
    assert failed is not None
    assert (failed.error_code, failed.address) == ("CRASHED", "")
    assert "crashed 2 times" in failed.error
    # What the dead have counted is kept.
    assert await has_counted(app, 6)
    assert pid_of(app) == 0


async def test_the_stable_version_comes_back_however_often_it_is_killed(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    for killed in (1, 2, 3):
        await kill(app)
        await until(lambda: registry.state("scores", "v1") == "READY", 60)
        serving = registry.serving("scores", "v1")
        assert serving is not None
        # So that a test version that crashes beside it is not blamed.
        assert serving.error_code == ("" if killed == 1 else "CRASHED")
    await caller.predict(reference_rows(1))


async def has_counted(app: Any, calls: int) -> bool:
    """Whether GetMetrics has so many answered calls."""
    return counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="ok") >= calls


async def test_no_process_outlives_its_supervisor(
    registry: FakeRegistry, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    environment = {
        **os.environ,
        "CROSSFADE_LISTEN": "127.0.0.1:0",
        "CROSSFADE_REGISTRY": registry.address,
        "CROSSFADE_ARTIFACT_CACHE": str(tmp_path / "cache"),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.worker", env=environment)
    try:
        await until(lambda: registry.state("scores", "v1") == "READY", 40)
        family = psutil.Process(process.pid).children(recursive=True)
        assert any(one.is_running() for one in family)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await until(lambda: not any(map(is_alive, family)), 15)


async def test_ends_in_order_when_it_is_told(registry: FakeRegistry, artifacts: Any, want: Any, tmp_path: Path) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    environment = {
        **os.environ,
        "CROSSFADE_LISTEN": "127.0.0.1:0",
        "CROSSFADE_REGISTRY": registry.address,
        "CROSSFADE_ARTIFACT_CACHE": str(tmp_path / "cache"),
        "CROSSFADE_QUIET_SECONDS": "0.1",
        # Whatever is left open as a process ends is an error.
        "PYTHONWARNINGS": "error::ResourceWarning",
    }
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.worker", env=environment, stderr=file
        )
    try:
        await until(lambda: registry.state("scores", "v1") == "READY", 40)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert registry.left == list(registry.instances)
    assert "Traceback" not in log.read_text()


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = {**os.environ, "CROSSFADE_LISTEN": address, "CROSSFADE_ARTIFACT_CACHE": str(tmp_path)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.worker", env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, output = await process.communicate()
    assert process.returncode == 1
    assert output.decode().strip().endswith("is in use by another process: end it or choose another port")
    assert "Traceback" not in output.decode()


async def test_a_device_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "CROSSFADE_LISTEN": "127.0.0.1:0",
        "CROSSFADE_ARTIFACT_CACHE": str(tmp_path),
        "CROSSFADE_DEVICE": "cuda:99",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.worker", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, output = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 1
    assert output.decode().startswith("worker: error: CROSSFADE_DEVICE is cuda:99, and torch finds ")
    assert output.decode().count("\n") == 1
