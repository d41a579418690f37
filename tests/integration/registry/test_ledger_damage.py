"""An event that somebody altered in the database is listed all the same, and named when the log is verified."""

from collections.abc import Awaitable, Callable

from sqlalchemy import func, select, update

from crossfade import ledger
from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.engine import open_engine, parse_url
from registry.database.ledger import UNREADABLE
from registry.database.tables import events
from tests.integration.registry.harness import Registry

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
