"""Child processes, started by a process that talks gRPC."""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.local import leash
from services.local.processes import Service, ServiceProcess, StartError, run_once
from tests.support.processes import is_alive
from tests.support.wait import until

_STARTS = 40


async def test_children_start_while_threads_of_grpc_are_at_work(tmp_path: Path) -> None:
    """Python code between fork and exec lost one child in three here."""
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    calls = [asyncio.create_task(_call_for_ever(port)) for _ in range(8)]
    codes = []
    for _ in range(_STARTS):
        process = ServiceProcess(Service("quick", "platform", f"127.0.0.1:{port}", tmp_path / "quick.log"))
        await process.start()
        codes.append(await process.wait())
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await server.stop(None)
    assert codes == [0] * _STARTS


async def test_a_service_that_cannot_be_started_again_at_once_is_started_later(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    said: list[str] = []
    process = ServiceProcess(Service("quick", "platform", "127.0.0.1:1", logs / "quick.log"))
    await process.start()
    shutil.rmtree(logs)
    logs.touch()
    keeping = asyncio.create_task(process.keep(said.append))
    await until(lambda: len(said) == 2)
    assert said[0].startswith("quick ended with code 0 and is started again")
    assert said[1].startswith("quick cannot be started (")
    logs.unlink()
    await until(lambda: len(said) == 3, 30)
    keeping.cancel()
    assert said[2] == said[0]


async def test_a_start_that_fails_tells_its_own_words_and_none_of_an_earlier_one(tmp_path: Path) -> None:
    log = tmp_path / "missing.log"
    log.write_text("an earlier mistake\n")
    process = ServiceProcess(Service("missing", "no_such_module", "127.0.0.1:1", log))
    await process.start()
    await process.wait()
    with pytest.raises(StartError, match="No module named no_such_module") as failed:
        await process.ready()
    assert "an earlier mistake" not in str(failed.value)
    assert log.read_text().startswith("an earlier mistake")


async def test_a_run_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    service = Service("slow", "timeit", "127.0.0.1:1", tmp_path / "slow.log")
    running = asyncio.create_task(run_once(service, "-n", "1", "-r", "1", "import time; time.sleep(600)"))
    before = set(psutil.Process().children())
    await until(lambda: len(psutil.Process().children()) > len(before))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert set(psutil.Process().children()) == before


async def _call_for_ever(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        while True:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())


_PARENT = """
import os, subprocess, sys, time
leash = [sys.executable, sys.argv[1], str(os.getpid())]
child = subprocess.Popen([*leash, sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


async def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, leash.__file__, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    await until(lambda: len(child.cmdline()) == 3)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: not is_alive(child))


async def test_a_child_of_a_parent_that_is_gone_does_not_start() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, leash.__file__, str(os.getpid() + 1), sys.executable, "-V", stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert (process.returncode, b"ended before its child" in said) == (1, True)
