"""Snapshots of series as OTLP `MetricsData`, and back.

Source: opentelemetry-proto 1.x, metrics/v1/metrics.proto. A spread counter becomes a data point per counted label.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp

from services.common.clock import steady_ns
from services.common.release import release
from services.common.telemetry import catalog, operations
from services.common.telemetry.catalog import Kind, Metric, declared
from services.common.telemetry.store import Snapshot

_CUMULATIVE: Final = otlp.AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
METRICS: Final[Mapping[str, Metric]] = {one.name: one for module in (catalog, operations) for one in declared(module)}
"""Every metric by its name."""
_SERIES_PER_PART: Final = 250
"""After so many series they are serialized, which takes some 1 ms for so many: nothing else runs meanwhile."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Which process counted.

    Attributes:
        service: `crossfade-router`, `crossfade-worker`, …
        instance_id: which start of which process.
        start_time_ns: when it started, nanoseconds since 1970-01-01 UTC.
        version: its release.
    """

    service: str
    instance_id: str
    start_time_ns: int
    version: str = field(default_factory=release)


class Encoder:
    """Writes snapshots as `MetricsData`, a few at a time.

    Args:
        resource: which process counted.
        now_ns: the moment of the snapshots, nanoseconds since 1970-01-01 UTC.
    """

    def __init__(self, resource: Resource, now_ns: int) -> None:
        self._resource = resource
        self._now = now_ns
        self._parts: list[bytes] = []
        self._begin()

    def add(self, snapshot: Snapshot) -> None:
        """Adds a series."""
        metric = snapshot.metric
        target = self._metrics.get(metric)
        if target is None:
            target = self._metrics[metric] = self._scope.metrics.add(
                name=metric.name, unit=metric.unit, description=metric.description
            )
        _write(target, snapshot, self._resource.start_time_ns, self._now)
        self._held += 1
        if self._held >= _SERIES_PER_PART:
            self._end()
            self._begin()

    def result(self) -> bytes:
        """All that was added, serialized."""
        if self._held or not self._parts:
            self._end()
        return b"".join(self._parts)

    def _begin(self) -> None:
        self._data = otlp.MetricsData()
        group = self._data.resource_metrics.add()
        group.resource.attributes.extend(
            (
                _pair("service.name", self._resource.service),
                _pair("service.instance.id", self._resource.instance_id),
                _pair("service.version", self._resource.version),
            )
        )
        self._scope = group.scope_metrics.add()
        self._scope.scope.name = "crossfade"
        self._metrics: dict[Metric, otlp.Metric] = {}
        self._held = 0

    def _end(self) -> None:
        # Serialized messages that follow one another read as one, whose repeated fields have the elements of both
        # (protobuf encoding, "Last One Wins").
        self._parts.append(self._data.SerializeToString())


def encode(resource: Resource, snapshots: Iterable[Snapshot], now_ns: int | None = None) -> bytes:
    """Serializes snapshots as one `MetricsData`."""
    encoder = Encoder(resource, steady_ns() if now_ns is None else now_ns)
    for snapshot in snapshots:
        encoder.add(snapshot)
    return encoder.result()


def _write(target: otlp.Metric, snapshot: Snapshot, start: int, now: int) -> None:
    metric = snapshot.metric
    start = snapshot.start_ns or start
    attributes = [_pair(key, value) for key, value in zip(metric.attributes, snapshot.attributes, strict=True)]
    match metric.kind:
        case Kind.HISTOGRAM:
            target.histogram.aggregation_temporality = _CUMULATIVE
            target.histogram.data_points.add(
                attributes=attributes,
                start_time_unix_nano=start,
                time_unix_nano=now,
                count=sum(snapshot.counts),
                sum=snapshot.total,
                bucket_counts=snapshot.counts,
                explicit_bounds=metric.bounds,
            )
        case Kind.COUNTER:
            target.sum.aggregation_temporality = _CUMULATIVE
            target.sum.is_monotonic = True
            for label, count in zip(snapshot.labels or ("",), snapshot.counts, strict=True):
                if count or not metric.spread:
                    target.sum.data_points.add(
                        attributes=[*attributes, _pair(metric.spread, label)] if metric.spread else attributes,
                        start_time_unix_nano=start,
                        time_unix_nano=now,
                        as_int=count,
                    )
        case Kind.GAUGE:
            target.gauge.data_points.add(attributes=attributes, time_unix_nano=now, as_double=snapshot.total)


def _pair(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


@dataclass(frozen=True, slots=True)
class Pull:
    """What one process answered.

    Attributes:
        service: `service.name` of the resource.
        instance_id: `service.instance.id` of the resource.
        time_ns: the latest time of its data points; 0 when it has none.
        snapshots: its series.
        start_ns: since when the first of its series counts; 0 when it has none, or does not say.
    """

    service: str
    instance_id: str
    time_ns: int
    snapshots: tuple[Snapshot, ...]
    start_ns: int = 0


def decode(raw: bytes) -> Pull:
    """Reads one process's `MetricsData`; metrics that the catalog does not know are passed over.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no `MetricsData`.
        ValueError: a histogram has other bounds than the catalog's, or not as many buckets.
    """
    data = otlp.MetricsData.FromString(raw)
    service = instance = ""
    latest = 0
    snapshots: list[Snapshot] = []
    for group in data.resource_metrics:
        resource = {pair.key: pair.value.string_value for pair in group.resource.attributes}
        service = resource.get("service.name", service)
        instance = resource.get("service.instance.id", instance)
        for scope in group.scope_metrics:
            for message in scope.metrics:
                metric = METRICS.get(message.name)
                if metric is not None:
                    newest, read = _read(metric, message)
                    latest = max(latest, newest)
                    snapshots.extend(read)
    start = min((one.start_ns for one in snapshots if one.start_ns), default=0)
    return Pull(service, instance, latest, tuple(snapshots), start)


def _read(metric: Metric, message: otlp.Metric) -> tuple[int, list[Snapshot]]:
    if metric.kind is Kind.HISTOGRAM:
        return _read_histogram(metric, message.histogram)
    points = message.gauge.data_points if metric.kind is Kind.GAUGE else message.sum.data_points
    latest = 0
    found: list[Snapshot] = []
    spread: defaultdict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    starts: dict[tuple[str, ...], int] = {}
    for point in points:
        latest = max(latest, point.time_unix_nano)
        attributes = {pair.key: pair.value.string_value for pair in point.attributes}
        values = tuple(attributes.get(key, "") for key in metric.attributes)
        if metric.kind is Kind.GAUGE:
            found.append(Snapshot(metric, values, (), point.as_double))
        elif metric.spread:
            spread[values][attributes.get(metric.spread, "")] = point.as_int
            starts[values] = point.start_time_unix_nano
        else:
            found.append(Snapshot(metric, values, (point.as_int,), start_ns=point.start_time_unix_nano))
    found.extend(
        Snapshot(metric, values, tuple(counts.values()), labels=tuple(counts), start_ns=starts[values])
        for values, counts in spread.items()
    )
    return latest, found


def _read_histogram(metric: Metric, message: otlp.Histogram) -> tuple[int, list[Snapshot]]:
    latest = 0
    found: list[Snapshot] = []
    for point in message.data_points:
        if len(point.explicit_bounds) != len(metric.bounds):
            raise ValueError(
                f"{metric.name} came with {len(point.explicit_bounds)} bounds instead of {len(metric.bounds)}"
            )
        latest = max(latest, point.time_unix_nano)
        attributes = {pair.key: pair.value.string_value for pair in point.attributes}
        values = tuple(attributes.get(key, "") for key in metric.attributes)
        counts = tuple(point.bucket_counts)
        if len(counts) != len(metric.bounds) + 1:
            raise ValueError(f"{metric.name} came with {len(counts)} buckets instead of {len(metric.bounds) + 1}")
        found.append(Snapshot(metric, values, counts, point.sum, start_ns=point.start_time_unix_nano))
    return latest, found
