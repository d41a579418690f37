"""A Registry on a real database, and scenes at it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from evaluator.terms import Terms
from registry.app import App
from registry.settings import RegistrySettings
from tests.integration.evaluator.scene import Scene

MakeScene = Callable[[Terms], Awaitable[Scene]]


@pytest.fixture
async def scene(database: str) -> AsyncIterator[MakeScene]:
    """Starts scenes; all of it ends with the test."""
    app = App(
        RegistrySettings(
            listen="127.0.0.1:0",
            database=database,
            drain_seconds=1,
            log_level="error",
            database_connections=4,
            readiness_debounce_seconds=0.0,
            give_way_seconds=0.0,
        )
    )
    await app.start()
    made: list[Scene] = []

    async def make(terms: Terms) -> Scene:
        one = Scene(app.address, terms)
        made.append(one)
        await one.start()
        return one

    yield make
    for one in made:
        await one.stop()
    await app.stop()
