"""`python -m registry` as a process: starts, serves, ends, and says what is wrong in one line."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.registry.v1 import service_pb2, service_pb2_grpc
from registry.__main__ import main
from registry.database.schema import REVISIONS
from tests.integration.registry.harness import FakeWorker, new_id
from tests.support.wait import until, until_async

# The interpreter and the same modules take 17 MB more since Python 3.14.
IDLE_MEGABYTES = 130 if sys.version_info < (3, 14) else 150


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CROSSFADE_")}
    return kept | {f"CROSSFADE_{name.upper()}": value for name, value in settings.items()}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "registry", *arguments],
        env=environment(**settings),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@asynccontextmanager
async def serving(database: str, **settings: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "registry",
        env=environment(database=database, listen="127.0.0.1:0", **settings),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            line = json.loads(await process.stderr.readline())
        assert (line["event"], line["service"]) == ("serving", "crossfade-registry")
        assert line["release"] == version("crossfade-services")
        assert uuid.UUID(line["instance_id"])
        yield process, line["address"]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_serves_in_little_memory_and_ends_on_sigterm(database: str) -> None:
    async with serving(database) as (process, address), aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.RegistryServiceStub(channel)
        await stub.ListModels(service_pb2.ListModelsRequest())
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="crossfade.registry.v1.RegistryService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        memory = psutil.Process(process.pid).memory_info().rss / 1e6
        assert memory <= IDLE_MEGABYTES
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            rest = [json.loads(line) async for line in process.stderr]
            assert await process.wait() == 0
        first, last = rest[0], rest[-1]
        assert (first["event"], first["signal"], first["service"]) == ("ending", "SIGTERM", "crossfade-registry")
        assert (last["event"], 0 <= last["seconds"] < 20) == ("ended", True)


async def test_it_takes_as_many_file_descriptors_as_the_system_allows(database: str) -> None:
    """Each Router and each Worker has a connection to it for its watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    given = min(512, soft - 1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    try:
        async with serving(database) as (process, _):
            taken, allowed = psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (allowed, taken > given) == (hard, True)


async def test_a_receiver_that_says_nothing_keeps_none_from_ending(database: str, tmp_path: Path) -> None:
    """A request may wait for it for 10 s."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    file = tmp_path / "webhooks.toml"
    settings = {"webhooks": str(file), "webhook_poll_seconds": "0.1", "drain_seconds": "0.1"}
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as receiver:
        port = receiver.sockets[0].getsockname()[1]
        file.write_text(f'[[webhook]]\nname = "w"\nurl = "http://127.0.0.1:{port}/"\nevents = ["MODEL_CREATED"]\n')
        async with serving(database, **settings) as (process, address), aio.insecure_channel(address) as channel:
            stub = service_pb2_grpc.RegistryServiceStub(channel)
            await stub.CreateModel(service_pb2.CreateModelRequest(model_id="m", request_id=new_id()))
            async with asyncio.timeout(20):
                await asked.wait()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(6):
                assert await process.wait() == 0


async def test_what_was_acknowledged_survives_sigkill(database: str) -> None:
    request = service_pb2.CreateModelRequest(model_id="m", request_id="6f0f2d3c-6a51-4a3b-9a37-0d6a54f2c0aa")
    async with serving(database) as (process, address), aio.insecure_channel(address) as channel:
        made = await service_pb2_grpc.RegistryServiceStub(channel).CreateModel(request)
        process.kill()
        await process.wait()
    async with serving(database) as (_, address), aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.RegistryServiceStub(channel)
        assert await stub.GetModel(service_pb2.GetModelRequest(name="models/m")) == made
        assert await stub.CreateModel(request) == made


async def test_one_that_stood_still_for_longer_than_a_lease_ends_none(database: str) -> None:
    made = serving(database, sweep_seconds="0.1")
    async with made as (process, address), aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.RegistryServiceStub(channel)
        await stub.CreateModel(service_pb2.CreateModelRequest(model_id="m", request_id=new_id()))
        worker, lease, looks = FakeWorker(stub, "m"), 2.0, 0.1
        worker.set("v1")
        asked = time.monotonic()
        await worker.report(ttl=lease)
        process.send_signal(signal.SIGSTOP)
        await until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        before = time.monotonic() - asked
        await asyncio.sleep(1.5 * lease)
        went_on = time.monotonic()
        process.send_signal(signal.SIGCONT)
        # A worker that stays away is gone all the same.
        await until_async(lambda: _nobody(stub), seconds=60)
        # Of the time in which it stood still no more counted than of one between three looks, however busy the machine.
        assert before + time.monotonic() - went_on > lease - 3 * looks


async def _nobody(stub: "service_pb2_grpc.RegistryServiceAsyncStub") -> bool:
    return not (await stub.ListInstances(service_pb2.ListInstancesRequest())).instances


def test_migrate(empty_database: str) -> None:
    before = run(database=empty_database, listen="127.0.0.1:0")
    assert (before.returncode, before.stderr.count("\n")) == (1, 1)
    assert "run `crossfade registry migrate` (or `python -m registry migrate`)" in before.stderr
    done = run("migrate", database=empty_database)
    assert (done.returncode, done.stdout) == (0, f"the database has schema {REVISIONS[-1]}, and had none\n")
    again = run("migrate", database=empty_database)
    assert (again.returncode, again.stdout) == (0, f"the database has schema {REVISIONS[-1]}, as before\n")


def test_a_check_changes_nothing(empty_database: str) -> None:
    for _ in range(2):
        checked = run("migrate", "--check", database=empty_database)
        assert (checked.returncode, "has schema none" in checked.stderr) == (1, True)
    run("migrate", database=empty_database)
    checked = run("migrate", "--check", database=empty_database)
    assert (checked.returncode, checked.stdout.endswith("which this release needs\n")) == (0, True)


def test_by_the_crossfade_command(empty_database: str) -> None:
    def crossfade(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "crossfade.cli", "registry", "migrate", *arguments]
        environment = os.environ | {"CROSSFADE_DATABASE": empty_database}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    refused = crossfade("--check")
    assert (refused.returncode, refused.stderr.startswith("error: the database has schema none")) == (1, True)
    assert json.loads(crossfade("--json").stdout) == {"schema": REVISIONS[-1], "changed": True}
    assert crossfade().stdout == f"the database has schema {REVISIONS[-1]}, as before\n"
    assert crossfade("--check").returncode == 0
    told = crossfade("--check", "--json").stdout
    assert json.loads(told) == {"schema": REVISIONS[-1], "changed": False}
    before = [sys.executable, "-m", "crossfade.cli", "--json", "registry", "migrate"]
    environment = os.environ | {"CROSSFADE_DATABASE": empty_database}
    told = subprocess.run(before, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert json.loads(told) == {"schema": REVISIONS[-1], "changed": False}


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, **settings: str) -> str:
    """What `python -m registry` says, in one line, when it cannot start."""
    for name in [name for name in os.environ if name.startswith("CROSSFADE_")]:
        monkeypatch.delenv(name)
    for name, value in {"listen": "127.0.0.1:0", **settings}.items():
        monkeypatch.setenv(f"CROSSFADE_{name.upper()}", value)
    assert main([]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"registry: error: .+\n", said)
    assert "pydantic" not in said
    return said


NOWHERE = "postgresql://x@127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "CROSSFADE_DATABASE is not set"),
        ({"database": "mysql://x"}, "CockroachDB or PostgreSQL"),
        ({"database": NOWHERE}, "does not answer"),
        ({"database": NOWHERE, "listen": "0.0.0.0:0"}, "takes TLS"),
        ({"database": NOWHERE, "log_level": "loud"}, "no log level"),
        (
            {"database": NOWHERE, "sweep_seconds": "-1"},
            "error: CROSSFADE_SWEEP_SECONDS: Input should be greater",
        ),
        ({"database": NOWHERE, "database_password_file": "/none"}, "No such file"),
    ],
)
def test_wrong_settings_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    assert said in refused(capsys, monkeypatch, **settings)


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refused(capsys, monkeypatch, database=NOWHERE, listen=f"127.0.0.1:{port}")


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade"]) == 2
    assert capsys.readouterr().err == "usage: python -m registry [migrate [--check]]\n"


def test_the_registry_imports_no_heavy_library() -> None:
    code = "import registry.app, sys; print([m for m in ('torch', 'scipy', 'numpy', 'alembic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
