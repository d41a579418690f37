"""`crossfade up` as people run it: started, killed, started again, and its errors."""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from benchmarks.dsn import dsn
from crossfade.artifact import Artifact
from crossfade.client import AsyncClient
from services.common.ports import free_port
from services.local.postgres import Postgres
from tests.e2e.conftest import MODEL, QUICK, Load, rows
from tests.support.wait import until, until_async

CROSSFADE = str(Path(sys.executable).with_name("crossfade"))


def port_block() -> int:
    """A port whose neighbours at −100, +100 and +200 are free, too."""
    for _ in range(20):
        base = free_port()
        with suppress(OSError):
            for port in (base - 100, base + 100, base + 200):
                socket.create_server(("127.0.0.1", port)).close()
            return base
    raise AssertionError("no ports are free")


class Up:
    """`crossfade up` in a process of its own."""

    def __init__(self, data: Path, port: int) -> None:
        self.port = port
        self._log = data.with_suffix(".log")
        with self._log.open("ab") as log:
            # Who runs the tests may have them outlast a terminal, as nohup(1) does, and so all that they start.
            command = ["env", "--default-signal=HUP", CROSSFADE, "up", "--data", str(data), "--port", str(port)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def said(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    async def ready(self, times: int = 1) -> None:
        """Waits until it says that it is up."""
        await until(lambda: self.said().count("Crossfade is up") >= times or self.process.poll() is not None, 90)
        assert self.process.poll() is None, self.said()

    async def end(self, number: int) -> int:
        """Sends a signal and waits."""
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 60)


def crossfade(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command against a running suite."""
    environment = {
        **os.environ,
        "CROSSFADE_REGISTRY": f"127.0.0.1:{up.port - 100}",
        "CROSSFADE_ROUTER": f"127.0.0.1:{up.port}",
        "CROSSFADE_EVALUATOR": f"127.0.0.1:{up.port + 200}",
    }
    return subprocess.run(
        [CROSSFADE, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def serves(up: Up, version: str) -> None:
    """Waits until calls are answered by a version."""

    async def there() -> bool:
        with suppress(Exception):
            return (await client.predict(MODEL, rows(1), timeout=2.0)).version == version
        return False

    async with AsyncClient(f"127.0.0.1:{up.port}") as client:
        await until_async(there, seconds=60)


@pytest.mark.timeout(300)
async def test_killed_and_ended_at_any_time_it_starts_again_with_everything(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    data, port = tmp_path / "data", port_block()
    first = Up(data, port)
    await first.ready()
    published = crossfade(first, "publish", MODEL, str(artifacts["v1"].path), "--version", "v1")
    assert published.returncode == 0, published.stderr
    await serves(first, "v1")
    await first.end(signal.SIGKILL)

    second = Up(data, port)
    await second.ready(times=2)
    await serves(second, "v1")
    assert "v1" in crossfade(second, "versions", MODEL).stdout
    assert await second.end(signal.SIGINT) == 0
    for number in (port - 100, port, port + 100, port + 200):
        socket.create_server(("127.0.0.1", number)).close()

    third = Up(data, port)
    await third.ready(times=3)
    await serves(third, "v1")
    assert await third.end(signal.SIGTERM) == 0


@pytest.mark.timeout(300)
async def test_killed_while_it_starts_it_starts_again(tmp_path: Path) -> None:
    data, port = tmp_path / "data", port_block()
    # While the database is made, while it is migrated, while services start; the next one finds what is left of it.
    for seconds in (0.4, 0.9, 1.4, 2.0, 2.8):
        up = Up(data, port)
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(up.process.wait, seconds)
        await up.end(signal.SIGKILL)
    whole = Up(data, port)
    await whole.ready(times=whole.said().count("Crossfade is up") + 1)
    assert crossfade(whole, "models").returncode == 0
    assert await whole.end(signal.SIGTERM) == 0


@pytest.mark.timeout(300)
async def test_killed_amid_publications_and_a_rollout_it_has_all_that_was_acknowledged(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    data, port = tmp_path / "data", port_block()
    policy = tmp_path / "policy.yaml"
    policy.write_text(QUICK)
    up = Up(data, port)
    await up.ready()
    folder = str(artifacts["v1"].path)
    assert crossfade(up, "publish", MODEL, folder, "--wait").returncode == 0
    assert crossfade(up, "publish", MODEL, str(artifacts["v2"].path), "--policy", str(policy)).returncode == 0
    await until_async(lambda: _runs(up), seconds=90)

    def publish() -> list[str]:
        acknowledged = []
        for number in range(1000):
            name = f"extra-{number}"
            done = crossfade(up, "publish", MODEL, folder, "--version", name, "--without-rollout")
            if done.returncode:
                break
            acknowledged.append(name)
        return acknowledged

    publishing = asyncio.create_task(asyncio.to_thread(publish))
    await until(lambda: "extra-3 " in crossfade(up, "versions", MODEL).stdout, 60)
    await up.end(signal.SIGKILL)
    acknowledged = await publishing
    assert len(acknowledged) >= 3

    again = Up(data, port)
    await again.ready(times=2)
    listed = crossfade(again, "versions", MODEL).stdout
    assert [name for name in acknowledged if f"{name} " not in listed] == []
    # The rollout goes on where it was, and ends.
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        load = Load(client, rate=100)
        await until_async(lambda: _is_stable(again, "v2"), seconds=120)
        await load.stop()
    assert await again.end(signal.SIGTERM) == 0


async def _runs(up: Up) -> bool:
    return "RUNNING" in (await _status(up))


async def _is_stable(up: Up, version: str) -> bool:
    return re.search(rf"^ ?{version} +STABLE", await _status(up), re.MULTILINE) is not None


async def _status(up: Up) -> str:
    """What `crossfade status` says, without keeping the load on this loop waiting."""
    return (await asyncio.to_thread(crossfade, up, "status", MODEL)).stdout


@pytest.mark.timeout(120)
async def test_the_addresses_are_there_for_programs(tmp_path: Path) -> None:
    port = port_block()
    process = await asyncio.create_subprocess_exec(
        *(CROSSFADE, "up", "--json", "--data", str(tmp_path / "data"), "--port", str(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    said = json.loads(await asyncio.wait_for(process.stdout.readline(), 90))
    assert said["addresses"]["router"] == f"127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    assert (await process.stdout.read(), await process.wait()) == (b"", 0)


def sockets_of(data: Path) -> list[Path]:
    """Folders of the database's socket that lie elsewhere, since its own path is too long for one."""
    digest = hashlib.sha256(os.fsencode(data / "postgres")).hexdigest()[:8]
    return list(Path("/tmp").glob(f"crossfade-{digest}-*"))  # noqa: S108 - where a short path is


@pytest.mark.timeout(120)
async def test_the_end_of_its_terminal_ends_all_in_order(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 20) / ("path" * 20)
    data.parent.mkdir()
    up = Up(data, port_block())
    await up.ready()
    assert sockets_of(data)
    assert await up.end(signal.SIGHUP) == 0
    assert up.said().endswith("ending …\n")
    assert not sockets_of(data)


def heard(data: Path, port: int) -> subprocess.Popen[bytes]:
    """`crossfade up` whose words come by pipes."""
    command = [CROSSFADE, "up", "--data", str(data), "--port", str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.timeout(120)
async def test_it_goes_on_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    port = port_block()
    process = heard(tmp_path / "data", port)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"PostgreSQL is up\n"
    process.stdout.close()
    for number in (port - 100, port, port + 100, port + 200):
        await until(lambda: not _is_free(number) or process.poll() is not None, 60)  # noqa: B023 - waited for here
    process.send_signal(signal.SIGTERM)
    assert (await asyncio.to_thread(process.stderr.read), process.wait()) == (b"", 0)


def _is_free(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.timeout(120)
async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    port = port_block()
    with socket.create_server(("127.0.0.1", port)):
        up = Up(tmp_path / "data", port)
        assert await asyncio.to_thread(up.process.wait, 60) == 1
    assert re.search(rf"^error: port {port} on 127.0.0.1 is in use .* with --port N", up.said(), re.MULTILINE)
    assert "Traceback" not in up.said()


@pytest.mark.timeout(120)
async def test_a_data_folder_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    data, port = tmp_path / "data", port_block()
    up = Up(data, port)
    await up.ready()
    assert await up.end(signal.SIGTERM) == 0
    with Postgres(data / "postgres") as postgres:
        url = dsn(postgres.url("crossfade"))
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
    again = Up(data, port)
    assert await asyncio.to_thread(again.process.wait, 60) == 1
    assert "upgrade crossfade" in again.said()
    assert "Traceback" not in again.said()
