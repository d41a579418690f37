"""The database is killed, or refuses a statement for want of room: nothing wrong is acknowledged, and all goes on."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.ledger import verify
from crossfade.registry.v1 import resources_pb2
from registry.database.engine import open_engine, parse_url
from registry.database.schema import migrate
from services.local.postgres import Postgres
from tests.integration.registry.harness import Registry, Start, new_id, refused
from tests.support.cutting import Proxy
from tests.support.wait import until_async

pytestmark = pytest.mark.postgres_only


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[tuple[Postgres, Proxy]]:
    """A PostgreSQL that keeps what it has committed, behind an address that outlives it."""
    server = Postgres(tmp_path / "postgres")
    server.start()
    server.create_database("kept")
    engine = open_engine(parse_url(server.url("kept")), 1)
    migrate(engine)
    engine.dispose()
    proxy = Proxy(server.url("kept"))
    await proxy.start()
    yield server, proxy
    await proxy.stop()
    server.stop()


def _kill(folder: Path) -> None:
    """Kills a server and its sessions, which would serve on for a moment without it."""
    (pid_file,) = folder.rglob("postmaster.pid")
    server = int(pid_file.read_text().splitlines()[0])
    sessions = [pid for pid, parent in _parents() if parent == server]
    for pid in (server, *sessions):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _parents() -> Iterator[tuple[int, int]]:
    """Every process and its parent."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                # The name before the last bracket may hold anything.
                yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])


async def answers(registry: Registry, status: int) -> bool:
    """Whether health says so."""
    stub = health_pb2_grpc.HealthStub(registry.channel)
    return bool((await stub.Check(health_pb2.HealthCheckRequest())).status == status)


async def test_a_database_that_is_killed_and_started_again(
    durable: tuple[Postgres, Proxy], start: Start, tmp_path: Path
) -> None:
    server, proxy = durable
    registry = await start(database=proxy.url(server.url("kept")))
    rollout = await registry.running()
    request_id = new_id()
    promoted = await registry.promote(rollout, request_id=request_id)
    events = await registry.events()

    _kill(tmp_path)
    said = await refused(registry.create("lost"))
    assert (said.code, said.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
    await until_async(lambda: answers(registry, health_pb2.HealthCheckResponse.NOT_SERVING), seconds=30)

    server.stop()
    server.start()
    proxy.retarget(server.url("kept"))
    await until_async(lambda: answers(registry, health_pb2.HealthCheckResponse.SERVING), seconds=60)
    assert await registry.states() == {"v1": "DEPRECATED", "v2": "STABLE"}
    assert await registry.events() == events
    assert await registry.promote(rollout, request_id=request_id) == promoted
    await registry.publish()
    verify(await registry.model(), reversed(await registry.events()))


def _copy(folder: Path, to: Path) -> None:
    """Copies what a server that is down has left, its owner too."""
    subprocess.run(["cp", "-a", folder, to], check=True)


def _stand_by(server: Postgres, proxy: Proxy, folder: Path) -> None:
    """Starts a server that is down as a hot standby, which waits for others to tell it what it was to write."""
    (folder / "data" / "standby.signal").touch()
    server.start()
    proxy.retarget(server.url("kept"))


async def test_a_standby_changes_nothing_until_it_is_the_one(
    durable: tuple[Postgres, Proxy], start: Start, tmp_path: Path
) -> None:
    server, proxy = durable
    registry = await start(database=proxy.url(server.url("kept")))
    rollout = await registry.running()

    server.stop()
    _stand_by(server, proxy, tmp_path / "postgres")
    # What it answers may be long past.
    for call in (registry.rollout(1), registry.create("n"), registry.model(), registry.rollback(rollout)):
        said = await refused(call)
        assert (said.code, said.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
        assert "takes no changes: it is a standby" in said.message
    await until_async(lambda: answers(registry, health_pb2.HealthCheckResponse.NOT_SERVING), seconds=30)

    with server.connect() as connection:
        connection.execute("SELECT pg_promote()")
    await registry.create("n")
    await until_async(lambda: answers(registry, health_pb2.HealthCheckResponse.SERVING), seconds=30)


async def test_connections_to_a_standby_are_let_go(
    durable: tuple[Postgres, Proxy], start: Start, tmp_path: Path
) -> None:
    server, proxy = durable
    registry = await start(database=proxy.url(server.url("kept")))
    await registry.create()

    server.stop()
    _copy(tmp_path / "postgres", tmp_path / "primary")
    _stand_by(server, proxy, tmp_path / "postgres")
    assert "takes no changes" in (await refused(registry.create("n"))).message
    # The address is the other one's from now on, and the standby stays up, with every connection.
    with Postgres(tmp_path / "primary") as primary:
        proxy.retarget(primary.url("kept"))
        await registry.create("n")
        await until_async(lambda: answers(registry, health_pb2.HealthCheckResponse.SERVING), seconds=30)
        assert [one.type for one in await registry.events("n")] == ["MODEL_CREATED"]


async def test_a_statement_that_finds_no_room(
    start: Start, shared_database: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    registry = await start()
    rollout = await registry.running()
    before = await registry.events()
    # What the server says when it cannot extend a file, at the statement that wanted to.
    shared_database.execute(
        b"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        b"RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
    )
    shared_database.execute(b"CREATE TRIGGER no_room BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_room()")
    try:
        request_id = new_id()
        said = await refused(registry.promote(rollout, request_id=request_id))
        assert (said.code, said.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
        assert "database has no room left" in said.message
        assert await registry.events() == before
        assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_RUNNING
        assert await registry.states() == {"v1": "STABLE", "v2": "TESTING"}
    finally:
        shared_database.execute(b"DROP FUNCTION no_room() CASCADE")
    promoted = await registry.promote(rollout, request_id=request_id)
    assert promoted.state == resources_pb2.ROLLOUT_STATE_PROMOTED
