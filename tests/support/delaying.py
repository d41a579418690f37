"""A way to a server that is far away: every byte takes a while in each direction."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def delaying(address: str, seconds: float) -> AsyncIterator[str]:
    """The host:port of a proxy before host:port that delivers everything so many seconds late, both ways."""
    host, _, port = address.rpartition(":")
    serving: set[asyncio.Task[None]] = set()

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        late = asyncio.Queue[tuple[float, bytes]]()

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    sink.close()
                    return
                sink.write(data)

        delivering = asyncio.create_task(deliver())
        try:
            while data := await source.read(65536):
                late.put_nowait((loop.time() + seconds, data))
            late.put_nowait((loop.time() + seconds, b""))
            await delivering
        except ConnectionError:
            sink.close()
        finally:
            delivering.cancel()

    async def serve(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(near, forth), carry(far, back))

    def accept(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(near, back)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
