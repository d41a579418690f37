"""What the Routers' counters say of each version: requests per second, runtime, errors, labels.

Counters are OTLP `MetricsData` (opentelemetry-proto 1.x), cumulative since each process's start. Pure but for imports.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

ROUTE: Final = "crossfade.route.duration"
ATTEMPT: Final = "crossfade.attempt.duration"
FEEDBACK: Final = "crossfade.feedback.count"
METRICS: Final = (ROUTE, ATTEMPT, FEEDBACK)
"""What is read."""

_JUDGED: Final = frozenset({"live", "control"})


@dataclass(frozen=True, slots=True)
class Series:
    """One series.

    Attributes:
        metric: its name.
        attributes: its attributes.
        counts: a histogram's counts per bucket, or a counter's one count.
        bounds: a histogram's upper bounds, in seconds.
    """

    metric: str
    attributes: Mapping[str, str]
    counts: tuple[int, ...]
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one round over all Routers gave.

    Attributes:
        seconds: when, on a clock that only goes forward.
        series: per Router's address.
    """

    seconds: float
    series: Mapping[str, Sequence[Series]]


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """What the counters say of one version in one lane.

    Attributes:
        attempts: live and control attempts.
        failed: those that did not end well.
        median: seconds of an attempt at the median; NaN: none.
        labelled: rows with a label.
        right: those that were predicted right.
        pairs: rows with a label by the predicted and the true class; of a model with many classes the predicted is
            empty.
    """

    attempts: int = 0
    failed: int = 0
    median: float = math.nan
    labelled: int = 0
    right: int = 0
    pairs: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """What the counters say of one lane.

    Attributes:
        per_second: calls per second between two readings; NaN: only one reading.
        versions: by version.
    """

    per_second: float = math.nan
    versions: Mapping[str, VersionFigures] = field(default_factory=dict)


def decode(metrics_data: bytes) -> list[Series]:
    """Series of one process's `MetricsData`.

    Raises:
        google.protobuf.message.DecodeError: the bytes are none.
    """
    found = []
    for group in MetricsData.FromString(metrics_data).resource_metrics:
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                for bucketed in metric.histogram.data_points:
                    attributes = {pair.key: pair.value.string_value for pair in bucketed.attributes}
                    counts, bounds = tuple(bucketed.bucket_counts), tuple(bucketed.explicit_bounds)
                    found.append(Series(metric.name, attributes, counts, bounds))
                for counted in metric.sum.data_points:
                    attributes = {pair.key: pair.value.string_value for pair in counted.attributes}
                    found.append(Series(metric.name, attributes, (counted.as_int,)))
    return found


def lane_figures(earlier: Reading | None, later: Reading, segment: str, epoch: int) -> LaneFigures:
    """The figures of one lane.

    Args:
        earlier: a reading before, for the rate; None: no rate.
        later: the reading that counts.
        segment: the lane's segment.
        epoch: the lane's epoch: attempts of the split in force are shown, and of the epochs before it only while it
            has none, so that both arms are shown over the same time.
    """
    series = [one for of_router in later.series.values() for one in of_router]
    mine = [one for one in series if one.attributes.get("segment", "") == segment]
    judged = [one for one in mine if one.attributes.get("traffic") in _JUDGED]
    attempts = [one for one in judged if one.metric == ATTEMPT]
    present = [one for one in attempts if one.attributes.get("epoch") == str(epoch) and any(one.counts)]
    labels = [one for one in judged if one.metric == FEEDBACK]
    names = {one.attributes.get("version", "") for one in judged}
    versions = {
        name: _version_figures(_of(present or attempts, name), _of(labels, name)) for name in sorted(names) if name
    }
    return LaneFigures(_per_second(earlier, later, segment), versions)


def median(counts: Sequence[int], bounds: Sequence[float]) -> float:
    """The median of a histogram, geometric within its bucket; NaN: it is empty.

    Args:
        counts: per bucket, one more than bounds.
        bounds: ascending and positive.
    """
    total = sum(counts)
    if not total or not bounds:
        return math.nan
    below = 0.0
    for number, count in enumerate(counts):
        if count and below + count >= total / 2:
            upper = bounds[min(number, len(bounds) - 1)]
            if number == 0 or number == len(bounds):
                return upper
            part = (total / 2 - below) / count
            return float(bounds[number - 1] * (upper / bounds[number - 1]) ** part)
        below += count
    return math.nan


def _of(series: Iterable[Series], version: str) -> list[Series]:
    return [one for one in series if one.attributes.get("version") == version]


def _version_figures(attempts: Sequence[Series], labels: Sequence[Series]) -> VersionFigures:
    by_bounds: defaultdict[tuple[float, ...], list[int]] = defaultdict(list)
    for one in attempts:
        so_far = by_bounds[one.bounds] or [0] * len(one.counts)
        by_bounds[one.bounds] = [a + b for a, b in zip(so_far, one.counts, strict=True)]
    # Routers of two releases may have other bounds; the bounds with most attempts speak.
    bounds, counts = max(by_bounds.items(), key=lambda item: sum(item[1]), default=((), []))
    return VersionFigures(
        attempts=_total(attempts),
        failed=_total(one for one in attempts if one.attributes.get("outcome") != "ok"),
        median=median(counts, bounds),
        labelled=_total(labels),
        right=_total(one for one in labels if one.attributes.get("correct") == "true"),
        pairs=_pairs(labels),
    )


def _pairs(labels: Iterable[Series]) -> dict[tuple[str, str], int]:
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in labels:
        found[one.attributes.get("predicted", ""), one.attributes.get("actual", "")] += sum(one.counts)
    return dict(found)


def _total(series: Iterable[Series]) -> int:
    return sum(sum(one.counts) for one in series)


def _per_second(earlier: Reading | None, later: Reading, segment: str) -> float:
    if earlier is None or later.seconds <= earlier.seconds:
        return math.nan
    calls = 0
    for router, series in later.series.items():
        if router in earlier.series:
            before = _calls(earlier.series[router], segment)
            # Series by series: a version that is unloaded takes its counts along. A Router begun anew counts from 0.
            for key, count in _calls(series, segment).items():
                known = before.get(key, 0)
                calls += count - known if count >= known else count
    return calls / (later.seconds - earlier.seconds)


def _calls(series: Iterable[Series], segment: str) -> dict[tuple[tuple[str, str], ...], int]:
    """Calls of a segment by their series."""
    return {
        tuple(sorted(one.attributes.items())): sum(one.counts)
        for one in series
        if one.metric == ROUTE and one.attributes.get("segment", "") == segment
    }
