"""Reading WatchRoutes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from grpc import aio

from crossfade.registry.v1 import service_pb2
from tests.integration.registry.harness import Refusal, Registry, refusal


@asynccontextmanager
async def watching(registry: Registry, start: int = 0, mark: str = "") -> AsyncIterator["Watcher"]:
    """Watches while it is open."""
    call = registry.stub.WatchRoutes(service_pb2.WatchRoutesRequest(start_revision=start, start_mark=mark))
    try:
        yield Watcher(call)
    finally:
        call.cancel()


class Watcher:
    """Reads a watch with a bound on the time."""

    def __init__(
        self, call: "aio.UnaryStreamCall[service_pb2.WatchRoutesRequest, service_pb2.WatchRoutesResponse]"
    ) -> None:
        self._call = call

    async def begun(self) -> None:
        """Waits until the Registry has something for it; nothing is read."""
        await self._call.initial_metadata()

    async def next(self, seconds: float = 20) -> service_pb2.WatchRoutesResponse:
        """The next message."""
        async with asyncio.timeout(seconds):
            response = await self._call.read()
        assert isinstance(response, service_pb2.WatchRoutesResponse)
        return response

    async def until(self, revision: int, seconds: float = 20) -> list[service_pb2.WatchRoutesResponse]:
        """The messages up to one of this revision."""
        found: list[service_pb2.WatchRoutesResponse] = []
        while not found or found[-1].revision < revision:
            found.append(await self.next(seconds))
        return found

    async def models(self) -> set[str]:
        """The models of the next message's lanes."""
        return {lane.model for lane in (await self.next()).lanes}

    async def end(self) -> Refusal:
        """Why the watch ends, whatever it sends before."""
        with pytest.raises(aio.AioRpcError) as caught:
            while True:
                await self.next()
        return refusal(caught.value)
