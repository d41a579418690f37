"""A database that goes back to an earlier state: no watch misses what is written from there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import structlog

from services.common.watch import RouteWatch
from tests.integration.registry.harness import Registry, Start
from tests.integration.registry.watching import watching
from tests.support.wait import until

Connection = psycopg.Connection[tuple[object, ...]]


def go_back(connection: Connection, revision: int) -> None:
    """As when a standby that lacks the later commits takes over, or a backup is put back."""
    with connection.transaction():
        gone = connection.execute("SELECT DISTINCT model FROM events WHERE revision > %s", (revision,)).fetchall()
        for (model,) in gone:
            connection.execute("DELETE FROM lane_routes WHERE model = %s", (model,))
            connection.execute("DELETE FROM lanes WHERE model = %s", (model,))
            connection.execute("DELETE FROM events WHERE model = %s", (model,))
            connection.execute("DELETE FROM models WHERE model = %s", (model,))
        connection.execute("DELETE FROM route_changes WHERE revision > %s", (revision,))
        connection.execute("UPDATE route_clock SET revision = %s", (revision,))


async def create(registry: Registry, *models: str) -> None:
    for model in models:
        await registry.create(model)


@asynccontextmanager
async def following(registry: Registry) -> AsyncIterator[RouteWatch]:
    """What Routers and Workers do."""
    watch = RouteWatch(registry.channel, lambda _revision, _lanes: None, lambda: None, structlog.get_logger())
    task = asyncio.create_task(watch.run())
    yield watch
    task.cancel()


@pytest.mark.parametrize("created", [("n1",), ("n1", "n2"), ("n1", "n2", "n3")])
async def test_watches_begin_anew(start: Start, shared_database: Connection, created: tuple[str, ...]) -> None:
    """However many revisions there are again when it shows: fewer, as many, or more."""
    registry, other = await start(watch_poll_seconds=10.0), await start()
    await create(registry, "a", "b", "c", "d", "e")
    async with watching(registry) as watch:
        assert (await watch.next()).revision == 5
        go_back(shared_database, 3)
        # The Registry looks when it has written itself, and then all of them are there.
        await create(other, *created[:-1])
        await create(registry, created[-1])
        said = await watch.end()
    assert (said.code, said.reason) == ("OUT_OF_RANGE", "HISTORY_CHANGED")
    async with watching(registry) as watch:
        again = await watch.next()
        assert (again.snapshot, again.revision) == (True, 3 + len(created))
        assert {lane.model for lane in again.lanes} == {"a", "b", "c", *created}
        await registry.create("later")
        assert await watch.models() == {"later"}


async def test_a_watch_is_not_resumed_in_another_history(start: Start, shared_database: Connection) -> None:
    registry = await start()
    await create(registry, "a", "b", "c", "d", "e")
    async with watching(registry) as watch:
        seen = await watch.next()
    await registry.app.stop()
    go_back(shared_database, 3)
    registry = await start()
    await create(registry, "n1", "n2", "n3")
    async with watching(registry, seen.revision, seen.mark) as watch:
        said = await watch.end()
    assert (said.code, said.reason) == ("OUT_OF_RANGE", "HISTORY_CHANGED")


async def test_a_watch_is_resumed_by_its_mark(start: Start) -> None:
    registry = await start()
    await create(registry, "a", "b")
    async with watching(registry) as watch:
        second = await watch.next()
        await registry.create("c")
        third = await watch.next()
    await registry.create("d")
    # From the memory of one Registry, and from the database by another one.
    for one in (registry, await start()):
        async with watching(one, second.revision, second.mark) as watch:
            assert [await watch.models(), await watch.models()] == [{"c"}, {"d"}]
        async with watching(one, third.revision, third.mark) as watch:
            assert await watch.models() == {"d"}


async def test_routers_and_workers_follow(start: Start, shared_database: Connection) -> None:
    registry = await start()
    await create(registry, "a", "b", "c", "d", "e")
    async with following(registry) as watch:
        await until(lambda: len(watch.lanes) == 5)
        go_back(shared_database, 3)
        await create(registry, "n1", "n2", "n3")
        await until(lambda: {model for model, _ in watch.lanes} == {"a", "b", "c", "n1", "n2", "n3"})
        assert watch.revision == 6
        await registry.create("later")
        await until(lambda: ("later", "") in watch.lanes)


async def test_what_a_release_without_marks_wrote_is_followed(start: Start, shared_database: Connection) -> None:
    await create(await start(), "a", "b")
    shared_database.execute("UPDATE route_changes SET mark = ''")
    registry = await start()
    async with watching(registry) as watch:
        seen = await watch.next()
        assert (seen.revision, seen.mark) == (2, "")
    async with watching(registry, 1) as watch:
        assert await watch.models() == {"b"}
        await registry.create("c")
        assert (await watch.next()).mark
