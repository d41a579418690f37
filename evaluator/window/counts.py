"""Counts of processes: cumulative ones (a cursor) and those between two looks (a window)."""

from collections.abc import Mapping
from dataclasses import dataclass

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its attributes as sorted pairs."""


@dataclass(frozen=True, slots=True)
class Series:
    """The counts of one metric with one set of attributes.

    Attributes:
        metric: its name, as `crossfade.attempt.duration`.
        attributes: sorted pairs, without the one that `labels` spreads over `counts`.
        counts: a counter's one count, a histogram's counts per bucket, or one count per label.
        total: a histogram's sum, in the metric's unit.
        labels: sorted values of the attribute spread over `counts`; empty otherwise.
    """

    metric: str
    attributes: tuple[tuple[str, str], ...]
    counts: tuple[int, ...]
    total: float = 0.0
    labels: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """What makes two series the same one."""
        return self.metric, self.attributes

    @property
    def by_label(self) -> dict[str, int]:
        """Counts by label."""
        return dict(zip(self.labels, self.counts, strict=True))

    def values(self) -> dict[str, str]:
        """Attribute values by name."""
        return dict(self.attributes)


@dataclass(frozen=True, slots=True)
class InstanceCounts:
    """The counts of one process.

    Attributes:
        instance_id: which start of which process.
        read_us: when it was read, microseconds since 1970-01-01 UTC; 0: it was seen and could not be read; below 0: its
            counts were let go, since it has been gone for so long, and this is when it was last heard of.
        series: sorted by key.
    """

    instance_id: str
    read_us: int
    series: tuple[Series, ...] = ()

    @property
    def forgotten(self) -> bool:
        """Whether its counts were let go: whatever it has counted, should it come back, is history."""
        return self.read_us < 0

    @classmethod
    def forget(cls, instance_id: str, heard_us: int) -> "InstanceCounts":
        """A process that is forgotten but for its name, and when it was last heard of; 0: nobody knows."""
        return cls(instance_id, -max(heard_us, 1))


Counts = tuple[InstanceCounts, ...]
"""The counts of all processes, sorted by instance id."""


def read_time(counts: Counts) -> float:
    """The latest time at which one of the processes was read, in seconds; 0 when none was."""
    return max((instance.read_us for instance in counts), default=0) / 1e6


def arrange(series: Mapping[Key, Series]) -> tuple[Series, ...]:
    """Series in the order in which they are recorded."""
    return tuple(series[key] for key in sorted(series))
