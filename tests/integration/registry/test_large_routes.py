"""Routes that are larger than a message: they come in parts, which are in force together."""

import asyncio

import psycopg
import structlog

from crossfade.connection import MESSAGE_LIMIT
from crossfade.registry.v1 import resources_pb2, service_pb2
from services.common.watch import RouteWatch
from tests.integration.registry.harness import Registry
from tests.integration.registry.watching import Watcher, watching
from tests.support.wait import until

LANES = 700
Connection = psycopg.Connection[tuple[object, ...]]


async def multiply(registry: Registry, connection: Connection) -> list[tuple[str, str, bytes]]:
    """Gives 700 segments the routes of a version with 1,000 classes; answers the rows."""
    await registry.create()
    await registry.publish()
    async with watching(registry) as watch:
        first = await watch.next()
    (lane,) = first.lanes
    lane.wanted[0].signature.classes[:] = [f"class-{number:04}-of-the-catalogue" for number in range(1000)]
    rows = []
    for number in range(LANES):
        lane.segment = f"s{number}"
        rows.append(("m", lane.segment, lane.SerializeToString()))
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO lane_routes (model, segment, payload) VALUES (%s, %s, %s)", rows)
    # A revision of their own, for the snapshot of the one before is known.
    change_all(connection, rows[:1], first.revision + 1)
    return rows


def change_all(connection: Connection, rows: list[tuple[str, str, bytes]], revision: int) -> None:
    """As when something changes in all lanes at once."""
    insert = "INSERT INTO route_changes (revision, mark, model, segment, payload) VALUES (%s, 'mark', %s, %s, %s)"
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(insert, [(revision, *row) for row in rows])
        cursor.execute("UPDATE route_clock SET revision = %s", (revision,))


async def whole(watch: Watcher) -> list[service_pb2.WatchRoutesResponse]:
    """All parts of the next revision."""
    found = [await watch.next(30)]
    while found[-1].more:
        found.append(await watch.next(30))
    return found


def lanes(parts: list[service_pb2.WatchRoutesResponse]) -> list[resources_pb2.LaneRoutes]:
    return [lane for part in parts for lane in part.lanes]


async def test_routes_of_many_lanes_come_in_parts(registry: Registry, shared_database: Connection) -> None:
    rows = await multiply(registry, shared_database)
    async with watching(registry) as watch:
        parts = await whole(watch)
        assert len(parts) > 2
        assert sum(part.ByteSize() for part in parts) > MESSAGE_LIMIT
        assert max(part.ByteSize() for part in parts) < MESSAGE_LIMIT * 0.6
        assert [lane.segment for lane in lanes(parts)] == ["", *sorted(segment for _, segment, _ in rows)]
        assert [part.snapshot for part in parts] == [True, *(False for _ in parts[1:])]
        last = parts[-1]
        # Whoever is cut off between two of them goes on from before them, also one that knows nothing of parts.
        assert {(part.revision, part.mark) for part in parts[:-1]} == {(0, "")}
        change_all(shared_database, rows, last.revision + 1)
        changed = await whole(watch)
        assert len(changed) > 2
        assert len(lanes(changed)) == LANES
        assert not any(part.snapshot for part in changed)
        assert {(part.revision, part.mark) for part in changed[:-1]} == {(last.revision, last.mark)}
        assert (changed[-1].revision, changed[-1].mark) == (last.revision + 1, "mark")
    async with watching(registry, last.revision, last.mark) as watch:
        assert len(lanes(await whole(watch))) == LANES


async def test_routers_and_workers_get_them(registry: Registry, shared_database: Connection) -> None:
    rows = await multiply(registry, shared_database)
    told: list[tuple[int, int]] = []
    watch = RouteWatch(
        registry.channel,
        lambda revision, lanes: told.append((revision, len(lanes))),
        lambda: None,
        structlog.get_logger(),
    )
    task = asyncio.create_task(watch.run())
    await until(lambda: told, 30)
    revision = watch.revision
    change_all(shared_database, rows, revision + 1)
    await until(lambda: len(told) > 1, 30)
    task.cancel()
    assert told == [(revision, LANES + 1), (revision + 1, LANES + 1)]
