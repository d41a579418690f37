"""A way to a server that counts what comes back on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(slots=True)
class Way:
    """A way to a server.

    Attributes:
        address: host:port of its near end.
        passed: bytes that came back from the server, whether anybody has read them or not.
    """

    address: str
    passed: int = 0


@contextlib.asynccontextmanager
async def counting(address: str) -> AsyncIterator[Way]:
    """A proxy before host:port, which is connected to by nobody else."""
    host, _, port = address.rpartition(":")
    serving: set[asyncio.Task[None]] = set()

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                way.passed += len(data) if back else 0
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(near, forth, back=False), carry(far, back, back=True))

    def accept(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(near, back)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    way = Way(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield way
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
