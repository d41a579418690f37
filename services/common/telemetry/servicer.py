"""TelemetryService: hands out the process's cumulative metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from grpc import aio

from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from services.common.telemetry import otlp
from services.common.telemetry.store import Snapshot

Collect = Callable[[], Awaitable[Iterable[Snapshot]]]


class TelemetryServicer(telemetry_pb2_grpc.TelemetryServiceServicer):
    """Serves what `collect` gives.

    Args:
        resource: which process this is.
        collect: gives every series at this moment.
    """

    def __init__(self, resource: otlp.Resource, collect: Collect) -> None:
        self._resource = resource
        self._collect = collect

    async def GetMetrics(  # noqa: N802 - the method's name in the contract
        self,
        request: telemetry_pb2.GetMetricsRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> telemetry_pb2.GetMetricsResponse:
        """The series asked for."""
        del context
        names = frozenset(request.names)
        wanted = [
            snapshot
            for snapshot in await self._collect()
            if (not names or snapshot.metric.name in names) and _of_model(snapshot, request.model)
        ]
        return telemetry_pb2.GetMetricsResponse(metrics_data=otlp.encode(self._resource, wanted))


def _of_model(snapshot: Snapshot, model: str) -> bool:
    if not model:
        return True
    pairs = zip(snapshot.metric.attributes, snapshot.attributes, strict=True)
    return any(key == "model" and value == model for key, value in pairs)
