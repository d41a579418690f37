"""Where a watch of the routes stands, and taking one up again."""

from typing import Final

from benchmarks.registries import Stub
from crossfade.registry.v1 import service_pb2

RESUMED_CHANGES: Final = 10


async def revision(stub: Stub) -> int:
    """The routes' latest."""
    watch = stub.WatchRoutes(service_pb2.WatchRoutesRequest())
    first = await anext(aiter(watch))
    watch.cancel()
    return first.revision


async def resume(stub: Stub, latest: int) -> None:
    """Takes up a watch ten changes behind the latest."""
    watch = stub.WatchRoutes(service_pb2.WatchRoutesRequest(start_revision=latest - RESUMED_CHANGES))
    async for response in watch:
        if response.revision >= latest:
            break
    watch.cancel()
