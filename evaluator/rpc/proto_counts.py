"""Counts to crossfade.common.v1.Counts and back: deterministic, sorted, without loss."""

from collections.abc import Mapping
from typing import Final

from crossfade.common.v1 import analysis_pb2
from crossfade.connection import MESSAGE_LIMIT
from evaluator.window.counts import Counts, InstanceCounts, Series
from services.common import times

_LARGE: Final = MESSAGE_LIMIT // 4
"""Bytes from which on keys are written once: a look is recorded with a window and a cursor."""

_Kind = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]
"""Metric, attributes and labels."""


def to_proto(counts: Counts, large: int = _LARGE) -> analysis_pb2.Counts:
    """Counts as a message.

    Processes of one model have nearly the same series, whose names are most of a message. Each is written once where
    the message would be `large`, in bytes; otherwise each series has its own, which releases before can read.
    """
    message = _message(counts, {})
    if message.ByteSize() < large:
        return message
    kinds = sorted({_kind(one) for instance in counts for one in instance.series})
    message = _message(counts, {kind: place for place, kind in enumerate(kinds, start=1)})
    for metric, attributes, labels in kinds:
        message.keys.add(metric=metric, attributes=dict(attributes), labels=labels)
    return message


def _message(counts: Counts, keys: Mapping[_Kind, int]) -> analysis_pb2.Counts:
    message = analysis_pb2.Counts()
    for instance in counts:
        target = message.instances.add(instance_id=instance.instance_id)
        if instance.read_us:
            target.read_time.CopyFrom(times.timestamp(instance.read_us))
        for one in instance.series:
            added = target.series.add(counts=one.counts, sum=one.total)
            if keys:
                added.key = keys[_kind(one)]
                continue
            added.metric = one.metric
            added.attributes.update(one.attributes)
            added.labels.extend(one.labels)
    return message


def from_proto(message: analysis_pb2.Counts) -> Counts:
    """Counts of a message."""
    kinds = [(one.metric, tuple(sorted(one.attributes.items())), tuple(one.labels)) for one in message.keys]
    found = [
        InstanceCounts(
            instance.instance_id,
            times.microseconds(instance.read_time) if instance.HasField("read_time") else 0,
            tuple(sorted((_series(one, kinds) for one in instance.series), key=lambda one: one.key)),
        )
        for instance in message.instances
    ]
    return tuple(sorted(found, key=lambda instance: instance.instance_id))


def _series(message: analysis_pb2.SeriesCounts, kinds: list[_Kind]) -> Series:
    if message.key:
        metric, attributes, labels = kinds[message.key - 1]
    else:
        metric, attributes = message.metric, tuple(sorted(message.attributes.items()))
        labels = tuple(message.labels)
    return Series(metric, attributes, tuple(message.counts), message.sum, labels)


def _kind(one: Series) -> _Kind:
    return one.metric, one.attributes, one.labels
