"""A process's samples as the counts of one scrape.

Every sample of one scrape has the same time, so counts of one time are those that stood on the page together. A series
that was there before and is missing at a scrape may only be late (a server that is fed by remote write): then the
newest scrape is taken that has all of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from evaluator.sources.prometheus_series import RawSeries
from evaluator.window.arms import METRICS
from evaluator.window.counts import Key
from evaluator.window.splits import Splits
from services.common.telemetry import catalog
from services.common.telemetry.catalog import Kind, Metric, declared
from services.common.telemetry.largest import largest
from services.common.telemetry.page_names import (
    CREATED,
    INSTANCE,
    SERVICE,
    STARTED,
    TARGET_INFO,
    UPTIME,
    VERSION,
    page_name,
    says_created,
)
from services.common.telemetry.store import Snapshot

_LATEST: Final = 1e11
"""Seconds since 1970-01-01 UTC beyond which no time lies."""
COMPARED: Final = 3
"""Scrapes of a process that are read, to see what the newest one lacks."""

_NAME: Final = "__name__"
_BOUND: Final = "le"
_BUCKET, _SUM, _COUNT, _BEGUN = "bucket", "sum", "count", "begun"
_WATCHED: Final = tuple(one for one in declared(catalog) if one.name in METRICS)
_PARTS: Final[Mapping[str, tuple[Metric, str]]] = {
    f"{page_name(metric)}_{suffix}": (metric, part)
    for metric in _WATCHED
    for suffix, part in (
        (("bucket", _BUCKET), ("sum", _SUM)) if metric.kind is Kind.HISTOGRAM else (("total", _COUNT),)
    )
} | {f"{page_name(metric)}{CREATED}": (metric, _BEGUN) for metric in _WATCHED if says_created(metric)}
OF_PROCESS: Final = (TARGET_INFO, STARTED, UPTIME)
"""The series that say when a process was scraped, and what its own clock showed then."""
NAMES: Final = tuple(_PARTS)
"""The series that a look needs, by their names on the page."""
_OWN: Final = frozenset({_BOUND, *(name for one in _WATCHED for name in (*one.attributes, one.spread) if name)})
"""Labels that the page gives to series; all others say which target was scraped."""
_OF_RESOURCE: Final = frozenset({_NAME, INSTANCE, SERVICE, f"exported_{SERVICE}", VERSION, f"exported_{VERSION}"})

Target = frozenset[tuple[str, str]]
"""The labels of a target: job, instance, and those of the scrape configuration."""


class UnfitError(Exception):
    """What the server has of a process is no evidence; the message says why and what to do, as a sentence part."""


@dataclass(frozen=True, slots=True)
class Scrapes:
    """The latest scrapes of one process through one target.

    Attributes:
        target: whose labels.
        times: newest first, at least one; milliseconds since 1970-01-01 UTC by the server's clock.
        own: by the time of a scrape, when the process started by its own clock, in seconds since 1970-01-01 UTC, and
            for how many seconds it had run; left out: it does not say.
    """

    target: Target
    times: tuple[int, ...]
    own: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def clock(self, time: int) -> "ProcessClock | None":
        """The process's clock at one of the scrapes; None: nobody knows it."""
        start, uptime = self.own.get(time, (math.nan, math.nan))
        if not (0 < start < _LATEST and 0 <= uptime < _LATEST):
            return None
        return ProcessClock(time * 1000 - round(uptime * 1e6), time * 1000 - round((start + uptime) * 1e6))


@dataclass(frozen=True, slots=True)
class ProcessClock:
    """What a process's clock says, by the server's; microseconds.

    Attributes:
        started_us: when it started.
        behind_us: what is to be added to its times.
    """

    started_us: int
    behind_us: int

    def times(self, start_ns: Mapping[Key, int]) -> dict[Key, int]:
        """Its nanoseconds as the server's microseconds."""
        return {key: start // 1000 + self.behind_us for key, start in start_ns.items()}


def scrapes_of(pages: Iterable[RawSeries]) -> dict[str, list[Scrapes]]:
    """The latest scrapes by process, from samples of OF_PROCESS; a process may be the target of several jobs."""
    found: dict[str, dict[Target, dict[str, Mapping[int, float]]]] = {}
    for page in pages:
        targets = found.setdefault(page.labels.get(INSTANCE, ""), {})
        said = targets.setdefault(_target(page.labels, own=frozenset()), {})
        name = page.labels.get(_NAME, "")
        said[name] = {**said.get(name, {}), **page.samples}
    return {
        instance: [
            _scrapes(target, said)
            for target, said in sorted(targets.items(), key=lambda one: sorted(one[0]))
            if said.get(TARGET_INFO)
        ]
        for instance, targets in found.items()
    }


def _scrapes(target: Target, said: Mapping[str, Mapping[int, float]]) -> Scrapes:
    times = tuple(sorted(said[TARGET_INFO], reverse=True)[:COMPARED])
    started, uptime = said.get(STARTED, {}), said.get(UPTIME, {})
    own = {time: (started[time], uptime[time]) for time in times if time in started and time in uptime}
    return Scrapes(target, times, own)


def pick(found: Sequence[Scrapes], patience: int) -> Scrapes:
    """One target of a process, of at least one: always the same, until its scrapes end `patience` ms before another's.

    Raises:
        UnfitError: its labels hide those of the page.
    """
    newest = max(one.times[0] for one in found)
    chosen = next(one for one in found if newest - one.times[0] <= patience)
    hidden = sorted(name for name, _ in chosen.target if name in _OWN)
    if hidden:
        raise UnfitError(
            f"its target has a label {hidden[0]} of its own, which hides that of the counts: rename it in Prometheus's "
            "scrape configuration"
        )
    return chosen


Identity = tuple[Metric, str, tuple[str, ...], str]
"""A metric, which of its parts, its attribute values, and the bound or the label that the count is of."""


def by_process(found: Iterable[RawSeries]) -> dict[tuple[str, Target], list[RawSeries]]:
    """Series by process and target."""
    grouped: dict[tuple[str, Target], list[RawSeries]] = {}
    for one in found:
        grouped.setdefault((one.labels.get(INSTANCE, ""), _target(one.labels, own=_OWN)), []).append(one)
    return grouped


def counts_of(found: Iterable[RawSeries], times: Sequence[int], segment: str) -> tuple[int, list[Snapshot]]:
    """The newest scrape that lacks nothing, and what it counted.

    Args:
        found: the series of one process through one target.
        times: of its latest scrapes, newest first, at least one.
        segment: series of other segments are left out.

    Raises:
        UnfitError: its counts are no counts.
    """
    samples = _identified(found, segment)
    # The oldest one lacks nothing that is known of.
    time = next(time for place, time in enumerate(times) if not _lacks(samples, time, times[place + 1 :]))
    return time, _snapshots(samples, time)


def _identified(found: Iterable[RawSeries], segment: str) -> dict[Identity, Mapping[int, float]]:
    samples: dict[Identity, Mapping[int, float]] = {}
    for one in found:
        known = _PARTS.get(one.labels.get(_NAME, ""))
        if known is None:
            continue
        metric, part = known
        values = tuple(one.labels.get(name, "") for name in metric.attributes)
        if dict(zip(metric.attributes, values, strict=True)).get("segment", segment) != segment:
            continue
        identity = (metric, part, values, one.labels.get(_BOUND if part == _BUCKET else metric.spread, ""))
        if identity in samples:
            raise UnfitError(
                f"Prometheus has two series of {page_name(metric)} that differ in nothing: look for rules that rewrite "
                "labels (metric_relabel_configs)"
            )
        samples[identity] = one.samples
    return samples


def _lacks(samples: Mapping[Identity, Mapping[int, float]], time: int, before: Sequence[int]) -> bool:
    """Whether a series is missing that an earlier scrape had, and that no process drops."""
    missing = [
        identity
        for identity, values in samples.items()
        if time not in values and any(earlier in values for earlier in before)
    ]
    if not missing:
        return False
    splits = Splits(_place(identity) for identity, values in samples.items() if time in values)
    return not all(splits.outlive(*place) for place in {_place(identity) for identity in missing})


def _place(identity: Identity) -> tuple[str, tuple[tuple[str, str], ...]]:
    metric, _, values, _ = identity
    return metric.name, tuple(zip(metric.attributes, values, strict=True))


def _snapshots(samples: Mapping[Identity, Mapping[int, float]], time: int) -> list[Snapshot]:
    parts: dict[tuple[Metric, tuple[str, ...]], dict[tuple[str, str], float]] = {}
    for (metric, part, values, label), by_time in samples.items():
        if time in by_time:
            parts.setdefault((metric, values), {})[part, label] = by_time[time]
    read = (
        _histogram(metric, values, found) if metric.kind is Kind.HISTOGRAM else _counter(metric, values, found)
        for (metric, values), found in parts.items()
    )
    return [one for one in read if one is not None]


def _counter(metric: Metric, values: tuple[str, ...], found: Mapping[tuple[str, str], float]) -> Snapshot | None:
    counts = {label: whole(metric, value) for (part, label), value in found.items() if part == _COUNT}
    if not metric.spread:
        return Snapshot(metric, values, tuple(counts.values()), start_ns=_begun(found)) if counts else None
    counted = {label: count for label, count in counts.items() if count}
    return Snapshot(metric, values, tuple(counted.values()), labels=tuple(counted)) if counted else None


def _histogram(metric: Metric, values: tuple[str, ...], found: Mapping[tuple[str, str], float]) -> Snapshot:
    name = page_name(metric)
    # OpenMetrics leaves the sum out where numbers may be negative.
    total = found.get((_SUM, ""), 0.0 if metric.bounds[0] < 0 else None)
    if total is None:
        raise UnfitError(f"{name} has no sum: look for rules that drop or rewrite series")
    cumulative: dict[float, int] = {}
    for (part, label), value in found.items():
        if part == _BUCKET:
            cumulative[_bound(metric, label)] = whole(metric, value)
    bounds = (*metric.bounds, math.inf)
    if cumulative.keys() != set(bounds):
        missing = len(set(bounds) - cumulative.keys())
        raise UnfitError(
            f"{name} lacks {missing} of its {len(bounds)} buckets, or has others: run one release of Crossfade, and "
            "keep every bucket (metric_relabel_configs)"
        )
    rising = [0, *(cumulative[bound] for bound in bounds)]
    counts = tuple(after - before for before, after in pairwise(rising))
    if min(counts) < 0:
        raise UnfitError(f"the buckets of {name} do not rise: look for rules that rewrite series")
    return Snapshot(metric, values, counts, total, start_ns=_begun(found))


def _begun(found: Mapping[tuple[str, str], float]) -> int:
    """Since when a series counts, by its process's clock; 0: nobody knows."""
    seconds = found.get((_BEGUN, ""), 0.0)
    return round(seconds * 1e9) if 0 < seconds < _LATEST else 0


def _bound(metric: Metric, label: str) -> float:
    try:
        return float(label)
    except ValueError:
        raise UnfitError(f"{page_name(metric)} has a bucket of the bound {label[:40]!r}, which is no number") from None


def whole(metric: Metric, value: float) -> int:
    """A sample as a count.

    Raises:
        UnfitError: it is none.
    """
    if not (math.isfinite(value) and 0 <= value <= largest(metric.name) and value == int(value)):
        raise UnfitError(
            f"{page_name(metric)} is {value:g} somewhere, which is no count: look for rules that rewrite series"
        )
    return int(value)


def _target(labels: Mapping[str, str], own: frozenset[str]) -> Target:
    """The labels that are the target's; `own`: those that the page gave to the series."""
    return frozenset((name, value) for name, value in labels.items() if name not in _OF_RESOURCE and name not in own)
