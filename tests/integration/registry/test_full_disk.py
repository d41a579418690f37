"""The database's disk is full: refusals are clear, what was acknowledged is there, and all goes on by itself."""

import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from grpc import aio

from benchmarks.dsn import dsn
from crossfade.ledger import verify
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.engine import open_engine, parse_url
from registry.database.schema import migrate
from tests.integration.registry.harness import Refusal, Registry, Start, new_id, refusal
from tests.support.cutting import Proxy
from tests.support.own_disk import NoDiskError
from tests.support.small_disk import SmallDisk
from tests.support.wait import until_async

pytestmark = pytest.mark.postgres_only

MEGABYTES = 140
ROOM = 4 << 20
NO_ROOM = "database has no room left"


@pytest.fixture
async def disk() -> AsyncIterator[SmallDisk]:
    """A database on a disk of its own, where that can be had."""
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir="/tmp"))
    try:
        async with SmallDisk(folder, MEGABYTES) as made:
            engine = open_engine(parse_url(made.url), 1)
            migrate(engine)
            engine.dispose()
            yield made
    except NoDiskError as error:
        pytest.skip(f"nobody may mount a file system of his own here: {error}")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def toggling(disk: SmallDisk, start: Start) -> AsyncIterator["Toggling"]:
    """A rollout at a Registry whose database has an address that outlives the server's."""
    proxy = Proxy(disk.url)
    disk.on_start = proxy.retarget
    await proxy.start()
    registry = await start(database=proxy.url(disk.url))
    await registry.running()
    yield Toggling(registry)
    await registry.app.stop()
    await proxy.stop()


@dataclass
class Toggling:
    """Pauses a rollout and resumes it, each time for another reason.

    Attributes:
        acknowledged: the reasons of what was acknowledged.
        refused: what was said of the others, by their reasons.
    """

    registry: Registry
    number: int = 0
    acknowledged: list[str] = field(default_factory=list)
    refused: dict[str, Refusal] = field(default_factory=dict)

    async def once(self) -> bool:
        """Whether it was acknowledged."""
        self.number += 1
        reason = f"{self.number} " + "x" * 900
        stub = self.registry.stub
        try:
            rollout = await stub.GetRollout(service_pb2.GetRolloutRequest(name="models/m/rollouts/1"), timeout=10)
            if rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING:
                pause = service_pb2.PauseRolloutRequest(
                    name=rollout.name, etag=rollout.etag, reason=reason, request_id=new_id()
                )
                await stub.PauseRollout(pause, timeout=10)
            else:
                resume = service_pb2.ResumeRolloutRequest(
                    name=rollout.name, etag=rollout.etag, reason=reason, request_id=new_id()
                )
                await stub.ResumeRollout(resume, timeout=10)
        except aio.AioRpcError as error:
            self.refused[reason] = refusal(error)
            return False
        self.acknowledged.append(reason)
        return True

    async def tried(self, condition: Callable[[], bool]) -> bool:
        """Tries it once; whether the condition holds then."""
        await self.once()
        return condition()

    async def check(self) -> None:
        """What was acknowledged happened once, what was refused for want of room did not, and the ledger is whole."""
        events = await everything(self.registry)
        verify(await self.registry.model(), events)
        told = Counter(event.reason for event in events)
        assert [told[reason] for reason in self.acknowledged] == [1] * len(self.acknowledged)
        assert {(said.code, said.reason) for said in self.refused.values()} == {("UNAVAILABLE", "DATABASE_UNAVAILABLE")}
        assert [said for reason, said in self.refused.items() if NO_ROOM in said.message and told[reason]] == []
        # Of what broke off at COMMIT nobody was told that it did not happen.
        assert all(told[reason] <= 1 for reason in self.refused)


async def everything(registry: Registry) -> list[resources_pb2.Event]:
    """The model's events, newest first."""
    found: list[resources_pb2.Event] = []
    request = service_pb2.ListEventsRequest(parent="models/m", page_size=1000)
    while True:
        page = await registry.stub.ListEvents(request)
        found += page.events
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_tables_that_find_no_room(disk: SmallDisk, toggling: Toggling) -> None:
    for _ in range(5):
        assert await toggling.once()
    disk.fill()
    await until_async(lambda: toggling.tried(lambda: len(toggling.refused) >= 100), seconds=60)
    assert all(NO_ROOM in said.message for said in toggling.refused.values())
    disk.make_room()
    await until_async(toggling.once, seconds=60)
    await toggling.check()
    assert disk.started == 1


async def test_a_log_that_finds_no_room(disk: SmallDisk, toggling: Toggling) -> None:
    """Then PostgreSQL ends, and does not start again until there is some."""
    # For what tables need, and far less than a file of the log.
    disk.fill(left=ROOM)
    for _ in range(5):
        assert await toggling.once()
    await until_async(lambda: toggling.tried(lambda: _no_log_left(disk.url)), seconds=60)
    refused = len(toggling.refused)
    await until_async(lambda: toggling.tried(lambda: len(toggling.refused) >= refused + 3), seconds=60)
    disk.make_room()
    await until_async(toggling.once, seconds=60)
    await toggling.check()
    assert disk.started > 1


def _no_log_left(url: str) -> bool:
    """Goes on to the log's next file; whether nobody answers any more."""
    try:
        with psycopg.connect(dsn(url), autocommit=True) as connection:
            connection.execute("SELECT pg_switch_wal()")
    except psycopg.OperationalError:
        return True
    return False
