"""The lease of a process: says to the Registry that it lives and what it serves, at once when that changes."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from google.protobuf import duration_pb2
from grpc import aio

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc

_UNDER_WAY_SECONDS: Final = 2.0
"""How long leaving waits for a report that is under way."""


class Lease:
    """Reports an instance to the Registry three times per lease.

    Args:
        channel: to the Registry, for nothing else: of replicas that take turns each report goes to another one, so that
            one that takes none costs no lease.
        describe: gives the instance as it is now.
        lease_seconds: how long the Registry believes a report.
        log: gets a line when the Registry cannot be reached, once.
    """

    def __init__(
        self,
        channel: aio.Channel,
        describe: Callable[[], resources_pb2.Instance],
        lease_seconds: float,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._stub = service_pb2_grpc.RegistryServiceStub(channel)
        self._describe = describe
        self._seconds = lease_seconds
        self._log = log
        self._changed = asyncio.Event()
        self._lost = False
        self._sequence = 0
        self._reporting: asyncio.Task[bool] | None = None

    def changed(self) -> None:
        """Reports soon instead of at the next turn."""
        self._changed.set()

    async def run(self) -> None:
        """Reports until it is cancelled."""
        while True:
            self._changed.clear()
            # Whoever cancels this one leaves next, and would overtake the report: the Registry carries out what it has
            # begun, and a process that has left would be listed again until its lease ends.
            self._reporting = asyncio.create_task(self._report(leaving=False))
            ok = await asyncio.shield(self._reporting)
            try:
                async with asyncio.timeout(self._seconds / 3 if ok else min(1.0, self._seconds / 3)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def leave(self) -> None:
        """Ends the lease, after the report that is under way."""
        if self._reporting is not None:
            await asyncio.wait({self._reporting}, timeout=_UNDER_WAY_SECONDS)
            self._reporting.cancel()
        await self._report(leaving=True)

    async def _report(self, *, leaving: bool) -> bool:
        ttl = duration_pb2.Duration()
        ttl.FromNanoseconds(int(self._seconds * 1e9))
        try:
            instance = self._describe()
            self._sequence += 1
            request = service_pb2.ReportInstanceRequest(
                instance=instance, ttl=ttl, leaving=leaving, sequence=self._sequence
            )
            await self._stub.ReportInstance(request, timeout=min(5.0, self._seconds / 3))
        except aio.AioRpcError as error:
            if not self._lost:
                self._log.warning(
                    "the Registry does not take the report", code=error.code().name, reason=error.details()
                )
            self._lost = True
            return False
        except Exception as error:  # noqa: BLE001 - without a lease nobody calls a process that serves
            self._log.error("the report could not be made", exc_info=error)
            return False
        self._lost = False
        return True
