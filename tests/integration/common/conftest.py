"""Servers as every service starts them, with TLS and without; and one of ModelStreamInfer."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crossfade.cli.actions.certificates import make_certificates
from services.common.settings import ServiceSettings
from tests.integration.common.house import House, files
from tests.integration.common.stream_house import StreamHouse


@pytest.fixture
async def local() -> AsyncIterator[House]:
    """A server without TLS."""
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=5))
    await house.server.start()
    yield house
    await house.server.stop()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of two authorities: `dev`, and one that is foreign."""
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "dev", [], dt.datetime.now(dt.UTC))
    make_certificates(made / "foreign", [], dt.datetime.now(dt.UTC))
    return made


@pytest.fixture
async def secured(folder: Path) -> AsyncIterator[House]:
    """A server with TLS."""
    house = House(files(folder, "router"))
    await house.server.start()
    yield house
    await house.server.stop()


@pytest.fixture
async def house() -> AsyncIterator[StreamHouse]:
    """A server of ModelStreamInfer, and a caller."""
    built = StreamHouse()
    await built.server.start()
    yield built
    await built.channel.close()
    await built.server.stop(None)
