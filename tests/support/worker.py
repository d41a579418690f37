"""What tests of Workers read: counts by GetMetrics, failures as a Router sees them."""

from dataclasses import dataclass

from grpc import aio

from crossfade import metadata as keys
from crossfade.errors import details_of
from crossfade.telemetry.v1 import telemetry_pb2
from services.common.telemetry import catalog, otlp
from services.common.telemetry.store import Snapshot
from tests.support.wait import until_async

_GET_METRICS = "/crossfade.telemetry.v1.TelemetryService/GetMetrics"


@dataclass(frozen=True)
class Failure:
    """What a caller sees of a failed call; `accepted`: it is charged to the version."""

    code: str
    reason: str
    message: str
    accepted: bool


def failure_of(error: aio.AioRpcError) -> Failure:
    """Reads a failed call as a Router does."""
    details = details_of(error)
    said = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
    accepted = any(key == keys.ACCEPTED for key, _ in said)
    return Failure(details.code.name, details.reason, details.message, accepted)


def kept_there(seconds: float) -> tuple[tuple[str, str], ...]:
    """Metadata of a call without a timeout whose deadline the server keeps, and nobody else.

    A caller that keeps its own ends the call. Where a busy server was long in taking it, its time is not over there by
    then, so that the caller seems to have given up.
    """
    return (("grpc-timeout", f"{round(seconds * 1_000)}m"),)


async def metrics(address: str) -> list[Snapshot]:
    """What a process counts, by GetMetrics."""
    async with aio.insecure_channel(address) as channel:
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/crossfade.telemetry.v1.TelemetryService/GetMetrics"
        )
        body = await call(telemetry_pb2.GetMetricsRequest().SerializeToString(), timeout=5)
    return list(otlp.decode(telemetry_pb2.GetMetricsResponse.FromString(body).metrics_data).snapshots)


async def metrics_with(
    address: str, count: int, metric: catalog.Metric = catalog.WORKER_DURATION, **attributes: str
) -> list[Snapshot]:
    """What a Worker counts, once the metric's counts over the series with these attributes are at least so many.

    Of a process that is slow to say what it has counted, it says what it knew before.

    Raises:
        TimeoutError: they are fewer.
    """
    found: list[Snapshot] = []

    async def complete() -> bool:
        found[:] = await metrics(address)
        return counted(found, metric, **attributes) >= count

    await until_async(complete)
    return found


def counted(snapshots: list[Snapshot], metric: catalog.Metric, **attributes: str) -> int:
    """The sum of a metric's counts over the series with these attributes."""
    total = 0
    for one in snapshots:
        named = dict(zip(one.metric.attributes, one.attributes, strict=True))
        if one.metric is metric and attributes.items() <= named.items():
            total += sum(one.counts)
    return total
