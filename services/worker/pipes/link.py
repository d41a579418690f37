"""One end of the pipe to a process that serves, as whoever started it sees it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Self

from services.common.telemetry.store import Snapshot
from services.worker.pipes import messages
from services.worker.pipes.outgoing import Outgoing


class Link:
    """Orders to a process, and what it reports.

    Attributes:
        last_counts: what it has counted, as it said last; None: it has said nothing yet.
        heard: how often it has said what it has counted.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outgoing: Outgoing) -> None:
        self._reader = reader
        self._writer = writer
        self._outgoing = outgoing
        self._number = 0
        self._waiting: dict[int, asyncio.Future[list[Snapshot] | None]] = {}
        self._over = False
        self.last_counts: list[Snapshot] | None = None
        self.heard = 0
        self._seen = 0
        self._unheard = 0

    def look(self) -> int:
        """How many looks in a row, this one among them, have heard nothing since the one before; late answers count."""
        self._unheard = self._unheard + 1 if self.heard == self._seen else 0
        self._seen = self.heard
        return self._unheard

    @classmethod
    async def open(cls, pipe: socket.socket) -> Self:
        """A link over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=pipe)
        return cls(reader, writer, Outgoing(pipe))

    def send(self, message: messages.Message, binary: bytes = b"") -> None:
        """Sends an order; one to a process that has gone is lost."""
        self._outgoing.write(messages.pack(message, binary))

    async def counts(self, timeout_seconds: float) -> list[Snapshot] | None:
        """What it has counted since its start; None when it does not answer in time."""
        if self._over:
            return None
        self._number += 1
        number = self._number
        future: asyncio.Future[list[Snapshot] | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.send(messages.Count(number))
            async with asyncio.timeout(timeout_seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(number, None)

    async def reports(self) -> AsyncIterator[tuple[messages.Message, bytes]]:
        """What it reports, until it ends; answers to `counts` are handed out on the way."""
        with contextlib.suppress(ValueError):
            while (frame := await messages.read(self._reader)) is not None:
                message, binary = frame
                if isinstance(message, messages.Counts):
                    self._counted(message, binary)
                else:
                    yield message, binary
        self._give_up()
        # Whoever has ended hears nothing.
        self.close()

    def close(self) -> None:
        """Ends the pipe."""
        self._outgoing.close()
        self._writer.close()

    def _counted(self, message: messages.Counts, binary: bytes) -> None:
        self.last_counts = messages.unpack_counts(message, binary)
        self.heard += 1
        future = self._waiting.pop(message.number, None)
        if future is not None and not future.done():
            future.set_result(self.last_counts)

    def _give_up(self) -> None:
        self._over = True
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)
