"""Ctrl-C while a Worker starts."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.wait import until


def _started(folder: Path) -> "subprocess.Popen[str]":
    own = {"CROSSFADE_LISTEN": "127.0.0.1:0", "CROSSFADE_ARTIFACT_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "services.worker"],
        env={**os.environ, **own},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
async def test_a_worker_that_is_ended_while_it_starts_leaves_no_process_and_no_traceback(
    tmp_path: Path, number: signal.Signals
) -> None:
    worker = _started(tmp_path)
    try:
        parent, servers = psutil.Process(worker.pid), list[psutil.Process]()

        def is_there() -> bool:
            servers[:] = [one for one in parent.children() if "multiprocessing.forkserver" in " ".join(one.cmdline())]
            return bool(servers)

        await until(is_there, 60.0)
        if number is signal.SIGINT:
            # Of an earlier one Python itself says nothing.
            await until(lambda: any("/torch/" in mapped.path for mapped in servers[0].memory_maps()), 60.0)
            # As a terminal does.
            os.killpg(worker.pid, number)
        else:
            worker.send_signal(number)
        assert await asyncio.to_thread(worker.wait, 60) == 0
        # Whoever took it over need not have asked for its status.
        assert not [one for one in servers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert "Traceback" not in worker.communicate()[1]
    finally:
        worker.kill()
