"""A Router among its Registry and two Workers that do as told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.router.house import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """One of each, started."""
    built = House(tmp_path)
    await built.start()
    yield built
    await built.stop()
