"""grpc.health.v1 of a server: whose watches hear of every change, and end with the server.

The library's own servicer forgets all watchers of a service when one of several leaves, and its watches keep a server
from ending until its time for draining is over. Source: the gRPC health checking protocol,
https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Context = aio.ServicerContext[Any, Any]

# Methods are named as in the contract.
# ruff: noqa: N802


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # it has no types
    """Whether a server and its services serve: none of them, until it is said that one does."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {"": False}
        self._ended = False
        self._news = asyncio.Event()

    def set(self, service: str, *, serving: bool) -> None:
        """Says whether a service serves ("": the server as a whole); nothing does any more after `end`."""
        self._serving[service] = serving and not self._ended
        self._tell()

    def end(self) -> None:
        """Nothing serves any more: every watch hears so, and ends."""
        self._ended = True
        for service in self._serving:
            self._serving[service] = False
        self._tell()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: _Context) -> health_pb2.HealthCheckResponse:
        """The status of a service; NOT_FOUND: there is no such service."""
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"this server has no service {request.service!r}")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status of a service and each other one that follows, until the server ends (UNAVAILABLE)."""
        told = None
        while True:
            news = self._news
            status = self._status(request.service)
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
                told = status
                continue
            if self._ended:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "this server ends; ask another one")
            await news.wait()

    def _status(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
        if service not in self._serving:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        return (
            health_pb2.HealthCheckResponse.SERVING
            if self._serving[service]
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )

    def _tell(self) -> None:
        self._news, news = asyncio.Event(), self._news
        news.set()
