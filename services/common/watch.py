"""Following the Registry's routes: resumes by revision, forever, and says when it has lost sight of them."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

import grpc
import structlog
from grpc import aio

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc

_BACKOFF_SECONDS: Final = 0.2
_BACKOFF_LIMIT_SECONDS: Final = 5.0
_LOST_TRIES: Final = 2
_SILENCE_SECONDS: Final = 30.0
"""The Registry sends a sign of life every 10 s; after three missed ones the stream is taken for dead."""

Lanes = dict[tuple[str, str], resources_pb2.LaneRoutes]


class RouteWatch:
    """The lanes' routes as last heard, kept up to date by `run`.

    Args:
        channel: to the Registry.
        on_change: called after each change with the revision and all lanes, by (model, segment); if it raises, it is
            called with these again after a while.
        on_contact: called at every message, changes or not.
        log: gets a line when the Registry is lost and when it is back.
    """

    def __init__(
        self,
        channel: aio.Channel,
        on_change: Callable[[int, Lanes], None],
        on_contact: Callable[[], None],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._stub = service_pb2_grpc.RegistryServiceStub(channel)
        self._on_change = on_change
        self._on_contact = on_contact
        self._log = log
        self._failures = 0
        self._lost = False
        self.revision = 0
        self._mark = ""
        self.lanes: Lanes = {}

    async def run(self) -> None:
        """Follows the routes until it is cancelled."""
        while True:
            try:
                await self._follow()
            except (aio.AioRpcError, TimeoutError) as error:
                if isinstance(error, aio.AioRpcError) and error.code() is grpc.StatusCode.OUT_OF_RANGE:
                    self.revision, self._mark = 0, ""
                self._failures += 1
                self._say_lost(error)
            except Exception as error:  # noqa: BLE001 - whatever could not take the routes may be able to soon
                self._failures += 1
                self._log.error("the routes cannot be used; they are asked for again", exc_info=error)
            limit = min(_BACKOFF_LIMIT_SECONDS, _BACKOFF_SECONDS * 2 ** min(self._failures, 10))
            await asyncio.sleep(random.uniform(_BACKOFF_SECONDS / 2, limit))  # noqa: S311 - spreads the reconnects

    def _say_lost(self, error: aio.AioRpcError | TimeoutError) -> None:
        """Once, and not where a stream has ended that the next try takes up: servers end connections by their age."""
        reason = "no sign of life" if isinstance(error, TimeoutError) else error.details()
        if self._lost or (self._failures < _LOST_TRIES and isinstance(error, aio.AioRpcError)):
            return
        self._lost = True
        self._log.warning("registry lost; the last routes stay in force", reason=reason)

    async def _follow(self) -> None:
        start = service_pb2.WatchRoutesRequest(start_revision=self.revision, start_mark=self._mark)
        call = self._stub.WatchRoutes(start)
        parts: list[service_pb2.WatchRoutesResponse] = []
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    response = await call.read()
                if not isinstance(response, service_pb2.WatchRoutesResponse):
                    return
                self._on_contact()
                parts.append(response)
                if not response.more:
                    self._apply(parts)
                    parts = []
        finally:
            call.cancel()

    def _apply(self, parts: Sequence[service_pb2.WatchRoutesResponse]) -> None:
        """Takes a revision over, all parts of it at once."""
        snapshot = parts[0].snapshot
        if snapshot:
            self.lanes = {}
        lanes = [lane for part in parts for lane in part.lanes]
        for lane in lanes:
            key = (lane.model, lane.segment)
            if lane.removed:
                self.lanes.pop(key, None)
            else:
                self.lanes[key] = lane
        # Not the highest there ever was: numbers come again when the Registry's database was put back.
        revision = parts[-1].revision
        if lanes or snapshot:
            self._on_change(revision, dict(self.lanes))
        # Only now: what could not be used is sent again.
        self.revision, self._mark = revision, parts[-1].mark
        self._failures = 0
        if self._lost:
            self._lost = False
            self._log.info("routes are followed again", revision=revision)
