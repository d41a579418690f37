"""A connection that stands and says nothing: what is between acknowledges all, or the server stands still."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, literal, select
from sqlalchemy.engine import Engine

from registry.database.engine import lift_limits, open_engine, parse_url
from registry.database.unit_of_work import SqlUnitOfWork
from services.common.clock import SystemClock
from services.common.errors import DeadlineExceededError
from tests.support.cutting import Proxy

SILENT_SECONDS = 0.5
AT_ONCE = 3


@pytest.fixture
async def engine(proxy: Proxy, database: str) -> AsyncIterator[Engine]:
    made = open_engine(parse_url(proxy.url(database)), AT_ONCE, silent_seconds=SILENT_SECONDS)
    yield made
    await asyncio.to_thread(made.dispose)


async def revisions(engine: Engine, *, left: float = 60.0) -> list[int | BaseException]:
    """What as many ask at once as there are connections."""
    unit = SqlUnitOfWork(engine, SystemClock(), lambda _: None)
    deadline = time.monotonic() + left

    def ask() -> int:
        return unit.run(lambda tx: tx.routes.revision(), deadline=deadline, read_only=True)

    asked = (asyncio.to_thread(ask) for _ in range(AT_ONCE))
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_connection_that_falls_silent_is_given_up_and_another_one_asked(proxy: Proxy, engine: Engine) -> None:
    assert await revisions(engine) == [0] * AT_ONCE
    proxy.fall_silent()
    assert await revisions(engine) == [0] * AT_ONCE


async def test_who_has_no_time_left_by_then_is_told(proxy: Proxy, engine: Engine) -> None:
    await revisions(engine)
    proxy.fall_silent()
    told = await revisions(engine, left=SILENT_SECONDS / 2)
    assert any(isinstance(one, DeadlineExceededError) for one in told)
    assert await revisions(engine) == [0] * AT_ONCE


async def test_a_statement_that_may_take_long_may_be_silent(engine: Engine) -> None:
    def wait() -> int:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            lift_limits(connection)
            slowly = select(literal(1)).select_from(func.pg_sleep(3 * SILENT_SECONDS))
            return connection.execute(slowly).scalar_one()

    assert await asyncio.to_thread(wait) == 1
