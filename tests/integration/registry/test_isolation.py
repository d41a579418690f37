"""Each transaction is of one moment, one that only reads as well."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event, text

from registry.database.engine import open_engine, parse_url
from registry.database.transaction import SqlTransaction
from registry.database.unit_of_work import SqlUnitOfWork
from registry.ports import Transaction
from services.common.clock import SystemClock
from tests.integration.registry.harness import Start
from tests.integration.registry.watching import watching


def isolation(tx: Transaction) -> str:
    """As the database says."""
    assert isinstance(tx, SqlTransaction)
    return str(tx._session.execute(text("SHOW transaction_isolation")).scalar_one())


@pytest.mark.parametrize("read_only", [False, True])
def test_each_transaction_is_serializable(database: str, read_only: bool) -> None:
    engine = open_engine(parse_url(database), 1)
    unit = SqlUnitOfWork(engine, SystemClock(), lambda _: None)
    try:
        # One connection serves all of them.
        for _ in range(2):
            unit.ask(lambda tx: tx.routes.revision(), deadline=float("inf"))
            assert unit.run(isolation, deadline=float("inf"), read_only=read_only) == "serializable"
    finally:
        engine.dispose()


async def test_a_snapshot_is_of_the_revision_that_it_names(start: Start) -> None:
    one, other = await start(), await start()
    await one.create()
    loop, created = asyncio.get_running_loop(), list[str]()

    def meanwhile(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        """Once the lanes are read, and the revision is not."""
        if "FROM lane_routes ORDER BY" in " ".join(statement.split()) and not created:
            created.append("late")
            asyncio.run_coroutine_threadsafe(other.create("late"), loop).result(10)

    event.listen(one.app._engine, "after_cursor_execute", meanwhile)
    async with watching(one) as watch:
        first = await watch.next(10)
        known = {lane.model for lane in first.lanes}
        assert created
        assert (first.revision, known) in ((1, {"m"}), (2, {"m", "late"}))
        if first.revision == 1:
            assert await watch.models() == {"late"}
