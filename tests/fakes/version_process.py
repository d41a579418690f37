"""Versions' processes as the supervisor sees them: a test speaks for each."""

import asyncio
import socket
from typing import Any

from services.worker.pipes import messages
from services.worker.pipes.link import Link
from services.worker.process_config import ChildConfig


class SilentLink(Link):
    """To a process that never says what it has counted; nobody waits for that.

    Attributes:
        polled: how often it was asked.
    """

    polled = 0

    async def counts(self, timeout_seconds: float) -> None:
        """Nothing."""
        self.polled += 1


class FakeProcess:
    """A version's process.

    Args:
        config: what it was started with.
        link: to it.
        pipe: its own end.

    Attributes:
        killed: whether it was.
    """

    pid = 1

    def __init__(self, config: ChildConfig, link: SilentLink, pipe: socket.socket) -> None:
        self.config = config
        self.link = link
        self.killed = False
        self._pipe = pipe

    def say(self, message: messages.Message) -> None:
        """Reports something."""
        self._pipe.sendall(messages.pack(message))

    def end(self) -> None:
        """Ends untold."""
        self._pipe.close()

    def kill(self) -> None:
        """As the supervisor ends it."""
        self.killed = True
        self.end()

    async def exit_code(self) -> int:
        """As of a process that has failed."""
        self.link.close()
        return 1


class FakeForks:
    """Starts such processes.

    Attributes:
        started: all of them, the latest last.
        answering: whether it starts anything at present.
        refusal: why it cannot start anything; None: it can.
    """

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.refusal: Exception | None = None

    async def start(self, config: ChildConfig) -> FakeProcess:
        """One that says nothing yet."""
        await self.answering.wait()
        if self.refusal is not None:
            raise self.refusal
        ours, theirs = socket.socketpair()
        process = FakeProcess(config, await SilentLink.open(ours), theirs)
        self.started.append(process)
        return process
