"""Routes that are larger than a message: they come in parts, which are in force together."""

import asyncio

import psycopg
import pytest
import structlog
from grpc import aio

from crossfade.connection import MESSAGE_LIMIT, OPTIONS
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.engine import open_engine, parse_url
from registry.database.routes import SqlRouteLog
from registry.database.session import Session
from registry.sizes import FITTING_BYTES
from services.common.watch import RouteWatch
from tests.integration.registry.harness import Registry
from tests.integration.registry.watching import Watcher, watching
from tests.support.counting import counting
from tests.support.wait import until

LANES = 700
OPEN_SINCE = b"""
    SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database()
    AND application_name = 'crossfade-registry' AND xact_start < %s
"""
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


@pytest.mark.postgres_only
async def test_a_watcher_that_does_not_read_holds_nobody_up(registry: Registry, shared_database: Connection) -> None:
    """It is sent no more than fits on the way; the rest waits, and no transaction with it."""
    changed = (await multiply(registry, shared_database))[: LANES // 2]
    size = sum(len(payload) for *_, payload in changed)
    (first,) = (int(str(value)) for (value,) in shared_database.execute("SELECT revision FROM route_clock").fetchall())
    async with (
        counting(registry.app.address) as way,
        aio.insecure_channel(way.address, options=OPTIONS) as channel,
        watching(Registry(registry.app, channel=channel), start=first - 1) as idle,
        watching(registry, start=first - 1) as watch,
    ):
        await idle.begun()
        last = (await watch.next()).revision
        assert last == first
        for number in range(4):
            moment = shared_database.execute("SELECT clock_timestamp()").fetchone()
            change_all(shared_database, changed, last + 1)
            async with asyncio.timeout(5):
                assert [(await whole(watch))[-1].revision] == [last + 1]
                # And what is written by the Registry itself.
                await registry.create(f"n{number}")
                assert [(await whole(watch))[-1].revision] == [last + 2]
            last += 2
        # What had begun before the last changes were made has ended.
        assert shared_database.execute(OPEN_SINCE, moment).fetchall() == []
        # gRPC itself takes a little more than the largest message there is.
        assert way.passed < MESSAGE_LIMIT * 1.1 < 2 * size
        found = [(await whole(idle))[-1].revision for _ in range(first, last + 1)]
        assert found == list(range(first, last + 1))
        assert way.passed > 4 * size


async def test_no_more_of_large_changes_is_read_at_a_time_than_fits(
    registry: Registry, shared_database: Connection, database: str
) -> None:
    """Whoever is behind by hundreds of them would have a Registry hold gigabytes until they are sent."""
    rows = await multiply(registry, shared_database)
    (begin,) = (int(str(value)) for (value,) in shared_database.execute("SELECT revision FROM route_clock").fetchall())
    few = rows[: LANES // 50]
    for number in range(1, 101):
        change_all(shared_database, few if number > 50 else rows[:1], begin + number)
    engine = open_engine(parse_url(database), 1)
    with engine.connect() as connection:
        routes, at, reads = SqlRouteLog(Session(connection)), begin, 0
        while at < begin + 100:
            found = routes.changes(at, 500 if reads % 2 else begin + 100 - at)
            revisions = list(dict.fromkeys(one.position.revision for one in found))
            assert revisions == list(range(at + 1, at + 1 + len(revisions)))
            size = sum(len(one.payload) for one in found)
            assert size < FITTING_BYTES
            at, reads = revisions[-1], reads + 1
            # All lanes of the last one are there.
            assert sum(one.position.revision == at for one in found) == (len(few) if at > begin + 50 else 1)
    engine.dispose()
    assert 1 < reads < 8
