"""A few traces of the version that is decided about, from the Routers that kept them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from grpc import aio

from crossfade.router.v1 import router_pb2, router_pb2_grpc
from evaluator.ports import ProcessView
from evaluator.terms import Terms

Metadata = tuple[tuple[str, str], ...]
_ROUTERS: Final = 4
"""That are asked: any of them has some."""
_MOST: Final = 5
_SECONDS: Final = 1.0


class RouterTraces:
    """Asks Routers.

    Args:
        connect: opens a channel to host:port.
        metadata: goes with every call.
    """

    def __init__(self, connect: Callable[[str], aio.Channel], metadata: Metadata) -> None:
        self._connect = connect
        self._metadata = metadata

    async def of(self, processes: Sequence[ProcessView], terms: Terms) -> tuple[str, ...]:
        """At most five trace ids of the test version, failures first; none where no Router answers within a second.

        A decision is not held up for them, and never fails because of them.
        """
        routers = [process.address for process in processes if not process.worker][:_ROUTERS]
        found = await asyncio.gather(*(self._ask(address, terms) for address in routers))
        # Of each in turn, so that failures of all come before anything else.
        width = max(map(len, found), default=0)
        mixed = (ids[place] for place in range(width) for ids in found if place < len(ids))
        return tuple(dict.fromkeys(mixed))[:_MOST]

    async def _ask(self, address: str, terms: Terms) -> Sequence[str]:
        request = router_pb2.ListTracesRequest(model=terms.model, segment=terms.segment, version=terms.test)
        try:
            opened = self._connect(address)
        except (OSError, ValueError):
            return ()
        async with opened as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            try:
                answer = await stub.ListTraces(request, timeout=_SECONDS, metadata=self._metadata)
            except aio.AioRpcError:
                return ()
        return list(answer.trace_ids)
