"""One process's snapshots as the series that a look takes: those that concern the rollout, few enough to record."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from evaluator.terms import Terms
from evaluator.window.arms import (
    ATTEMPTS,
    CONTROL,
    ELSEWHERE,
    FEEDBACK,
    LIVE,
    METRICS,
    OF_INPUTS,
    SAME_INPUTS,
    concerns,
    is_of,
)
from evaluator.window.counts import Key, Series, arrange
from services.common.telemetry.store import Snapshot


@dataclass(frozen=True, slots=True)
class Found:
    """What a process's snapshots say of a rollout.

    Attributes:
        series: those that concern it, sorted.
        start_ns: since when each counts by the process's clock, nanoseconds since 1970-01-01 UTC; left out: nobody
            knows.
    """

    series: tuple[Series, ...]
    start_ns: Mapping[Key, int]


def series_of(snapshots: Iterable[Snapshot], terms: Terms) -> tuple[Series, ...]:
    """The series that concern a rollout, sorted."""
    return found_in(snapshots, terms).series


def found_in(snapshots: Iterable[Snapshot], terms: Terms) -> Found:
    """The series that concern a rollout, and since when they count.

    `model` is left out, since a rollout has one. Labels are spread by their actual class, and `correct` is left out
    where the predicted class says it: that is a tenth of the series.
    """
    found: dict[Key, Series] = {}
    starts: dict[Key, int] = {}
    for one, start in _concerning(snapshots, terms):
        before = found.get(one.key)
        found[one.key] = one if before is None else _together(before, one)
        starts[one.key] = min(start, starts.get(one.key, start))
    return Found(arrange(found), {key: start for key, start in starts.items() if start})


def _concerning(snapshots: Iterable[Snapshot], terms: Terms) -> Iterator[tuple[Series, int]]:
    versions = (terms.test, terms.stable)
    for snapshot in snapshots:
        if snapshot.metric.name not in METRICS:
            continue
        at = dict(zip(snapshot.metric.attributes, snapshot.attributes, strict=True))
        if at.pop("model", None) != terms.model or at.get("version", terms.stable) not in versions:
            continue
        if snapshot.metric.name == ATTEMPTS and at["segment"] != terms.segment:
            if _is_beside(at, terms):
                yield _elsewhere(at, snapshot), snapshot.start_ns
            continue
        if snapshot.metric.name in OF_INPUTS and at.pop("segment") != terms.segment:
            continue
        one = _label(at, snapshot) if snapshot.metric.name == FEEDBACK else _plain(at, snapshot)
        if concerns(one, terms):
            yield one, snapshot.start_ns
        if one.metric in OF_INPUTS and _is_compared(at, terms):
            yield _by_stable(one, at), snapshot.start_ns


def _is_beside(at: Mapping[str, str], terms: Terms) -> bool:
    """Whether a request of another lane is given to one of the processes whose batches are compared."""
    if not terms.compares_runtimes:
        return False
    control = at["traffic"] == CONTROL
    return at["version"] == (terms.stable if control else terms.test)


def _elsewhere(at: Mapping[str, str], snapshot: Snapshot) -> Series:
    named = {name: at[name] for name in ("epoch", "segment", "version")}
    return Series(ELSEWHERE, tuple(sorted(named.items())), (sum(snapshot.counts),))


def _is_compared(at: Mapping[str, str], terms: Terms) -> bool:
    """Whether requests are drawn for the test version (copies are not), and its inputs counted by stable's profile."""
    drawn = at["version"] == terms.test and at["traffic"] == LIVE
    return drawn and terms.compares_inputs and is_of(terms.stable_profile, at)


def _by_stable(one: Series, at: Mapping[str, str]) -> Series:
    named = {name: at[name] for name in ("feature", "product") if name in at}
    return replace(one, metric=SAME_INPUTS, attributes=tuple(sorted(named.items())))


def _plain(at: Mapping[str, str], snapshot: Snapshot) -> Series:
    counts, labels = snapshot.counts, snapshot.labels
    if labels:
        pairs = sorted(zip(labels, counts, strict=True))
        counts, labels = tuple(count for _, count in pairs), tuple(label for label, _ in pairs)
    return Series(snapshot.metric.name, tuple(sorted(at.items())), counts, snapshot.total, labels)


def _label(at: dict[str, str], snapshot: Snapshot) -> Series:
    actual = at.pop("actual", "")
    if at.get("predicted"):
        at.pop("correct", None)
    return Series(snapshot.metric.name, tuple(sorted(at.items())), snapshot.counts, labels=(actual,))


def _together(one: Series, other: Series) -> Series:
    """The sum of two series with the same key."""
    if not one.labels:
        counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
        return Series(one.metric, one.attributes, counts, one.total + other.total)
    merged = one.by_label
    for label, count in other.by_label.items():
        merged[label] = merged.get(label, 0) + count
    labels = tuple(sorted(merged))
    return Series(one.metric, one.attributes, tuple(merged[label] for label in labels), labels=labels)
