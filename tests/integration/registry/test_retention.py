"""What is old is forgotten; the chain holds all the same, and what is live is kept whatever its age."""

import asyncio
from typing import Any

import grpc
import psycopg
import pytest
from grpc import aio
from psycopg import sql
from sqlalchemy import event, func, insert, select, update
from sqlalchemy.engine.interfaces import CacheStats

from benchmarks.dsn import dsn
from crossfade.ledger import LedgerError, verify
from crossfade.registry.v1 import service_pb2
from registry.database.engine import open_engine, parse_url
from registry.database.tables import analyses, outbox, requests, route_changes, route_clock
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Registry, Start, new_id
from tests.support.wait import until_async

DAY = 86_400.0


async def forget(registry: Registry) -> None:
    """A round of forgetting."""
    forgotten = await asyncio.to_thread(registry.app.retention.forget, deadline=float("inf"))
    assert forgotten.failures == ()


async def looks(registry: Registry, number: int) -> list[int]:
    """Numbers of the looks of a rollout."""
    request = service_pb2.ListAnalysesRequest(parent=f"models/m/rollouts/{number}")
    return [one.sequence for one in (await registry.stub.ListAnalyses(request)).analyses]


async def describe(registry: Registry, times: int, model: str = "m") -> None:
    """Makes events."""
    for number in range(times):
        request = service_pb2.UpdateModelRequest(request_id=new_id())
        request.model.name, request.model.description = f"models/{model}", f"text {number}"
        await registry.stub.UpdateModel(request)


async def test_the_beginning_of_the_ledger_goes_and_the_chain_holds(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, event_days=30.0)
    await registry.create()
    await describe(registry, 120)
    clock.advance(20 * DAY)
    await describe(registry, 5)
    await forget(registry)
    assert len(await registry.events()) == 126
    before = await registry.events()
    clock.advance(20 * DAY)
    await forget(registry)
    after = await registry.events()
    assert [one.sequence for one in after] == [*range(122, 127), 127]
    assert after[-1].type == "EVENTS_COMPACTED"
    assert (
        f"Events 1 to 121 are older than 30 days and were removed; the last of them has the hash {before[120].hash}"
        in (after[-1].reason)
    )
    model = await registry.model()
    assert (model.compacted_sequence, model.compacted_hash) == (121, before[120].hash)
    assert verify(model, reversed(after)) == 6
    await describe(registry, 1)
    assert verify(await registry.model(), reversed(await registry.events())) == 7
    # A few old events are no reason to begin again.
    clock.advance(400 * DAY)
    await forget(registry)
    assert len(await registry.events()) == 7


async def test_more_than_was_compacted_is_missed(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, event_days=30.0)
    await registry.create()
    await describe(registry, 120)
    clock.advance(60 * DAY)
    await describe(registry, 3)
    await forget(registry)
    model, kept = await registry.model(), await registry.events()
    assert verify(model, reversed(kept)) == 4
    with pytest.raises(LedgerError, match="events before 123 of m are missing"):
        verify(model, reversed(kept[1:]))
    forged = kept[0]
    forged.previous_hash = "0" * 64
    with pytest.raises(LedgerError):
        verify(model, reversed([forged, *kept[1:]]))


async def test_looks_go_after_their_rollout_has_ended(
    start: Start, shared_database: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    clock = ManualClock()
    registry = await start(clock, analysis_days=30.0)
    rollout = await registry.running()
    for sequence in (1, 2, 3):
        await registry.look(rollout, sequence)
    clock.advance(100 * DAY)
    await forget(registry)
    assert await looks(registry, 1) == [1, 2, 3]
    await registry.rollback(await registry.rollout(1))
    await forget(registry)
    assert await looks(registry, 1) == [1, 2, 3]
    # What a look counts from is of no use without the look.
    cursors = b"SELECT length(cursor) > 0 FROM rollout_looks"
    assert shared_database.execute(cursors).fetchall() == [(True,)]
    clock.advance(31 * DAY)
    await forget(registry)
    assert await looks(registry, 1) == []
    assert shared_database.execute(cursors).fetchall() == [(False,)]
    ended = await registry.rollout(1)
    assert (ended.analysis_sequence, ended.outcome.code) == (3, "PERSON")


async def test_looks_of_however_many_rollouts_are_forgotten_by_one_statement(start: Start) -> None:
    """One was kept compiled for each number of rollouts: after 200 rounds with some hundreds each, 330 MB."""
    clock = ManualClock()
    registry = await start(clock, analysis_days=30.0)
    compiled: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:
        if context.cache_hit is CacheStats.CACHE_MISS:
            compiled.append(statement)

    for most in (1, 2, 3):
        for number in range(most):
            model = f"m{most}-{number}"
            await registry.look(await registry.running(model), 1)
            await registry.rollback(await registry.rollout(1, model))
        clock.advance(31 * DAY)
        event.listen(registry.app._engine, "before_cursor_execute", note)
        await forget(registry)
        event.remove(registry.app._engine, "before_cursor_execute", note)
        assert sum("UPDATE rollout_looks" in statement for statement in compiled) == 1


async def test_for_ever(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, event_days=0.0, analysis_days=0.0)
    rollout = await registry.running()
    await registry.look(rollout, 1)
    await registry.rollback(await registry.rollout(1))
    await describe(registry, 110)
    events = len(await registry.events())
    clock.advance(10_000 * DAY)
    await forget(registry)
    assert len(await registry.events()) == events
    assert await looks(registry, 1) == [1]


async def test_a_registry_forgets_by_itself(start: Start) -> None:
    first = await start()
    rollout = await first.running()
    await first.rollback(rollout)
    second = await start(route_changes_kept=1)

    async def forgotten() -> bool:
        watch = second.stub.WatchRoutes(service_pb2.WatchRoutesRequest(start_revision=1))
        try:
            return await watch.read() is aio.EOF
        except aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.OUT_OF_RANGE
        finally:
            watch.cancel()

    await until_async(forgotten)


async def test_a_round_forgets_more_than_one_batch(start: Start, database: str) -> None:
    registry = await start(route_changes_kept=10_000)
    old = 1_000_000_000.0
    rows = [
        {"principal": "p", "rpc": "RecordMonitor", "request_id": new_id(), "digest": "", "answer": b"", "created": old}
        for _ in range(2_500)
    ]
    engine = open_engine(parse_url(database), 1)
    changes = [{"revision": number, "model": "m", "segment": "", "payload": b""} for number in range(1, 40_001)]
    untaken = """
        INSERT INTO outbox (model, sequence, webhook, event, created, attempts, due, error, refused)
        SELECT 'm', n, 'w', '', '2001-09-09', 9, '2001-09-09', 'HTTP 500', 0 FROM generate_series(1, 30000) AS n
    """
    # CockroachDB takes long over one transaction of so many rows.
    for first in range(0, len(changes), 2_000):
        with engine.begin() as connection:
            connection.execute(insert(route_changes), changes[first : first + 2_000])
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
        connection.exec_driver_sql(untaken)
        connection.execute(update(route_clock).values(revision=40_000))
    await forget(registry)

    def kept() -> list[int]:
        with engine.connect() as connection:
            counted = (select(func.count()).select_from(table) for table in (requests, route_changes, outbox))
            return [connection.execute(query).scalar_one() for query in counted]

    # So many in a round that no statement takes long, and the rest in the next ones.
    assert kept() == [0, 20_000, 10_000]
    await forget(registry)
    assert kept() == [0, 10_000, 0]
    engine.dispose()


async def test_many_models_with_few_old_events_hide_none_with_many(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, event_days=30.0)
    for number in range(25):
        await registry.create(f"a{number}")
    await registry.create()
    await describe(registry, 110)
    clock.advance(60 * DAY)
    await forget(registry)
    assert (await registry.model()).compacted_sequence > 0


@pytest.mark.postgres_only
@pytest.mark.parametrize("together", [True, False], ids=["of one moment", "one after the other"])
async def test_much_is_forgotten_that_came_since_the_database_took_a_table_for_empty(
    start: Start, database: str, together: bool
) -> None:
    registry = await start()
    await registry.running()
    moment = "timestamptz '2001-09-09'" + ("" if together else " + n * interval '1 s'")
    rows = {
        outbox: "(model, sequence, webhook, event, created, attempts, due, error, refused) "
        f"SELECT 'm', n, 'w', '', {moment}, 9, '2001-09-09', 'HTTP 500', 0",
        requests: "(principal, rpc, request_id, digest, answer, created) "
        f"SELECT 'p', 'RecordMonitor', n::text, '', '', {moment}",
        analyses: f"(model, rollout, sequence, recorded, payload) SELECT 'm', 1, n, {moment}, ''",
    }
    with psycopg.connect(dsn(database), autocommit=True) as connection:
        connection.execute("UPDATE rollouts SET ended = '2001-09-10'")
        for table, what in rows.items():
            connection.execute(f"ALTER TABLE {table.name} SET (autovacuum_enabled = false)".encode())
            connection.execute(f"INSERT INTO {table.name} {what} FROM generate_series(1, 30000) AS n".encode())
            # The last row keeps the pages, which are nearly empty from now on, as far as is known.
            last = sql.SQL("DELETE FROM {0} WHERE ctid <> (SELECT max(ctid) FROM {0})")
            for statement in (last, sql.SQL("VACUUM ANALYZE {}"), sql.SQL("DELETE FROM {}")):
                connection.execute(statement.format(sql.Identifier(table.name)))
            connection.execute(f"INSERT INTO {table.name} {what} FROM generate_series(1, 30000) AS n".encode())
    until = registry.app.upkeep._clock.monotonic() + 60.0
    assert (await asyncio.to_thread(registry.app.retention.forget, deadline=until)).failures == ()
    engine = open_engine(parse_url(database), 1)
    with engine.connect() as connected:
        counted = (select(func.count()).select_from(table) for table in rows)
        assert [connected.execute(query).scalar_one() for query in counted] == [10_000] * len(rows)
    engine.dispose()
