"""Counts to crossfade.common.v1.Counts and back: deterministic, sorted, without loss."""

from crossfade.common.v1 import analysis_pb2
from evaluator.counts import Counts, InstanceCounts, Series
from services.common import times


def to_proto(counts: Counts) -> analysis_pb2.Counts:
    """Counts as a message."""
    message = analysis_pb2.Counts()
    for instance in counts:
        target = message.instances.add(instance_id=instance.instance_id)
        if instance.read_us:
            target.read_time.CopyFrom(times.timestamp(instance.read_us))
        for one in instance.series:
            target.series.add(
                metric=one.metric,
                attributes=dict(one.attributes),
                counts=one.counts,
                sum=one.total,
                labels=one.labels,
            )
    return message


def from_proto(message: analysis_pb2.Counts) -> Counts:
    """Counts of a message."""
    found = [
        InstanceCounts(
            instance.instance_id,
            times.microseconds(instance.read_time) if instance.HasField("read_time") else 0,
            tuple(sorted((_series(one) for one in instance.series), key=lambda one: one.key)),
        )
        for instance in message.instances
    ]
    return tuple(sorted(found, key=lambda instance: instance.instance_id))


def _series(message: analysis_pb2.SeriesCounts) -> Series:
    return Series(
        metric=message.metric,
        attributes=tuple(sorted(message.attributes.items())),
        counts=tuple(message.counts),
        total=message.sum,
        labels=tuple(message.labels),
    )
