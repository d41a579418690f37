"""The first front-end of a version, at its end."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import uvloop

from services.common.telemetry.store import Snapshot
from services.worker.credentials import Credentials
from services.worker.domain import ServingKey, Traffic
from services.worker.pipes import messages
from services.worker.pipes.last_words import say_last
from services.worker.process_config import ChildConfig
from services.worker.settings import WorkerSettings
from services.worker.version.lead import Lead
from tests.unit.worker.counted import manifest


class SlowFollowers:
    """Further front-ends that answer when they may."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def counts(self) -> list[Snapshot]:
        """Nothing."""
        self.asked.set()
        await self.answer.wait()
        return []


class Silent:
    """A front-end that has counted nothing."""

    def snapshot(self) -> list[Snapshot]:
        """Nothing."""
        return []


def test_counts_that_come_after_the_last_word_are_not_told() -> None:
    """A version that ended at that moment took itself for crashed, and could not say so: uvloop's pipe was closed."""
    settings = WorkerSettings(log_level="error")
    key = ServingKey("m", "v1", Traffic.LIVE)
    config = ChildConfig(
        key=key,
        folder=Path(),
        address="",
        settings=settings,
        instance_id="worker",
        ordered_at=0.0,
        credentials=Credentials(),
    )

    async def end() -> list[messages.Message]:
        nothing: Any = None
        lead: Any = Lead(config, manifest(), nothing, nothing, [])
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=far)
        _, lead._writer = await asyncio.open_connection(sock=near)
        lead._front_end, lead._followers = Silent(), SlowFollowers()
        asked = asyncio.create_task(lead._send_counts(7))
        await lead._followers.asked.wait()
        await say_last(lead._writer, messages.pack_counts(0, []))
        lead._followers.answer.set()
        await asyncio.wait_for(asked, 5.0)
        said = []
        while (frame := await messages.read(reader)) is not None:
            said.append(frame[0])
        writer.close()
        return said

    (last,) = uvloop.run(end())
    assert isinstance(last, messages.Counts)
    assert last.number == 0
