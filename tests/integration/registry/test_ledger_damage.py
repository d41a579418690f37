"""An event that somebody altered in the database is listed all the same, and named when the log is verified; one that
was put in holds up its model and no other."""

from collections.abc import Awaitable, Callable

import psycopg
from sqlalchemy import func, select, update

from crossfade import ledger
from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.engine import open_engine, parse_url
from registry.database.ledger import UNREADABLE
from registry.database.tables import events
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import (
    CONTROL,
    FAILED,
    LIVE,
    LOADING,
    READY,
    Registry,
    Start,
    plan,
    refused,
)
from tests.integration.registry.leased import listed, serve, served, ticking

FLIPS = (0x01, 0x02, 0x08, 0x80)


async def broken(registry: Registry) -> str:
    """What is wrong with the log; empty: nothing."""
    head = await registry.model()
    found = await registry.stub.ListEvents(service_pb2.ListEventsRequest(parent="models/m", page_size=1000))
    try:
        ledger.verify(head, found.events)
    except ledger.LedgerError as error:
        return str(error)
    return ""


async def test_whichever_byte_of_the_evidence_is_altered_the_event_is_named(registry: Registry, database: str) -> None:
    rollout = await registry.running()
    await registry.look(rollout, 1)
    evidence = analysis_pb2.Summary(
        gates=[analysis_pb2.GateReport(gate="errors", difference=0.02, needed=300, required=True)]
    )
    outcome = resources_pb2.Outcome(reason="It fails.", code="VIOLATION", gate="errors", summary=evidence)
    await registry.rollback(rollout, outcome=outcome, analysis_sequence=1)
    (last,) = [one for one in await registry.events() if one.type == "ROLLOUT_ROLLED_BACK"]
    engine = open_engine(parse_url(database), 1)
    here = events.c.sequence == last.sequence
    with engine.begin() as connection:
        stored: bytes = connection.execute(select(events.c.outcome).where(here)).scalar_one()
    assert stored

    async def altered(to: bytes, look: Callable[[], Awaitable[str]]) -> str:
        with engine.begin() as connection:
            connection.execute(update(events).where(here).values(outcome=to))
        said = await look()
        with engine.begin() as connection:
            connection.execute(update(events).where(here).values(outcome=stored))
        return said

    async def code() -> str:
        (found,) = [one for one in await registry.events() if one.sequence == last.sequence]
        return found.outcome.code

    named = f"event {last.sequence} of m is not what was written: its hash differs"
    for place in range(len(stored)):
        for flip in FLIPS:
            other = stored[:place] + bytes((stored[place] ^ flip,)) + stored[place + 1 :]
            assert await altered(other, lambda: broken(registry)) == named, (place, flip)
    assert await altered(stored[:-1], code) == UNREADABLE
    assert await broken(registry) == ""
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(events)).scalar_one() == len(await registry.events())
    engine.dispose()


async def test_a_ledger_that_cannot_be_written_takes_no_worker_from_any_model(
    start: Start, shared_database: psycopg.Connection[tuple[object, ...]]
) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock, readiness_debounce_seconds=3.0)
    for model in ("a", "b", "c", "d"):
        await registry.create(model)
        await registry.publish(model)
    known, new = registry.worker("b"), registry.worker("b")
    for worker in (known, new):
        worker.set("v1")
        for model in ("a", "c", "d"):
            serve(worker, model, READY)
    await known.report()
    assert await served(registry) == dict.fromkeys("abcd", 1)
    await registry.publish("b", rollout=plan(500))
    shared_database.execute(
        "INSERT INTO events SELECT model, sequence + 1, segment, version, rollout, type, time, actor, reason, "
        "revision, outcome, hash, hash FROM events WHERE model = 'b' ORDER BY sequence DESC LIMIT 1"
    )
    for worker in (known, new):
        # The rollout would begin, which is an event.
        worker.set("v2")
        worker.set("v1", READY, CONTROL)
    serve(known, "a", LOADING)
    serve(known, "c", FAILED)
    del known.serving["d", LIVE]
    # Of b what was known before, and of the others what each Worker says.
    for addresses_of_a in (2, 1):
        for worker in (known, new):
            assert (await refused(worker.report())).reason == "LEDGER_BROKEN"
        assert await served(registry) == {"a": addresses_of_a, "b": 1, "c": 1, "d": 1}
        clock.advance(10)
        await registry.app.upkeep.once()
    assert {one.instance_id for one in await listed(registry)} == {known.instance_id, new.instance_id}
    shared_database.execute("DELETE FROM events WHERE hash = previous_hash")
    for worker in (known, new):
        await worker.report()
    assert await served(registry) == {"a": 1, "b": 2, "c": 1, "d": 1}
    assert (await registry.rollout(1, "b")).state == resources_pb2.ROLLOUT_STATE_RUNNING


async def test_a_row_that_stands_where_the_routes_are_to_be_written_is_named(
    registry: Registry, shared_database: psycopg.Connection[tuple[object, ...]]
) -> None:
    rollout = await registry.running()
    shared_database.execute(
        "INSERT INTO route_changes SELECT clock.revision + 1, routes.model, routes.segment, routes.payload, 'stray' "
        "FROM route_clock AS clock, lane_routes AS routes WHERE routes.model = 'm' AND routes.segment = ''"
    )
    said = await refused(registry.promote(rollout, force=True))
    assert (said.code, said.reason) == ("ABORTED", "CONTENTION")
    assert "Each time one row was there already (route_changes_pk: Key (revision, model, segment)=(" in said.message
    assert said.message.endswith("it may be the one that is right: put back all tables as they were at one moment")
    shared_database.execute("DELETE FROM route_changes WHERE mark = 'stray'")
    await registry.promote(rollout, force=True)
