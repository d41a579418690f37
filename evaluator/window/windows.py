"""From cumulative counters to windows: what each process counted since the look before.

The cursor holds each process's counters as last taken in. Three things are no evidence, and say so: a process that
could not be read, counters that are no numbers that count, and counters that went backwards. Then the cursor stays
where it was, so that nothing is counted twice when the counters are back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from operator import lt, sub
from typing import Final

from evaluator.window.arms import ELSEWHERE
from evaluator.window.counts import Counts, InstanceCounts, Series, arrange
from evaluator.window.readings import Problem, Reading, complaint, finite, without_strange
from evaluator.window.splits import Splits, split_of
from services.common.telemetry import catalog

GONE_US: Final = 900_000_000
"""A process that nobody has listed for so long (15 min) has ended; its counts would weigh on every cursor for ever."""
NAMELESS_US: Final = 86_400_000_000
"""So would the names of all that ever were: after a day nothing of a process comes back."""
_BEFORE_US: Final = 5_000_000
"""A process's answer is of a moment before it is read, so that a series may have begun a little before the look before
and not be in it. It was in no window then."""
FIRST_READ_METRICS: Final = frozenset(
    metric.name
    for metric in (
        catalog.COHORT_FEEDBACK,
        catalog.FEEDBACK_ALIKE,
        catalog.FEEDBACK_COUNT,
        catalog.FEEDBACK_ERROR,
        catalog.FEEDBACK_CLASS_LAG,
        catalog.FEEDBACK_LAG,
        catalog.FEEDBACK_VALUE,
        catalog.PREDICTION_ALIKE,
        catalog.PREDICTION_COUNT,
    )
)
"""Series of these are recorded from zero by a rollout's first look: they say whether labels come, and how late."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One look's window.

    Attributes:
        window: counts between the look before and this one; one entry per process that gave evidence.
        cursor: the cumulative counts after it.
        problems: processes that gave none, and why.
    """

    window: Counts
    cursor: Counts
    problems: tuple[Problem, ...]


def take(cursor: Counts, readings: Sequence[Reading], *, first: bool) -> Taken:
    """The window between a cursor and new readings, and the next cursor.

    What the cursor does not know counts from zero where it began after the look before: a process that has started
    since, or a series that says so. All else is history: what the first look finds, what a process had counted that was
    not listed or could not be read before, and a metric that was left out. Then only labels, or series of one epoch or
    slice, count. Of a process without times the series of a metric that it had before have begun since. A process that
    is not read keeps its place in the cursor, and one that is not even listed for 15 min only its name there: should it
    come back, all that it has counted is history. After a day the name goes, too.

    Args:
        cursor: of the look before.
        readings: at most one per process.
        first: no look was recorded before.
    """
    known = {instance.instance_id: instance for instance in cursor}
    latest = max((instance.read_us for instance in cursor), default=0)
    now = max((reading.read_us for reading in readings), default=0)
    ordered = sorted(readings, key=lambda one: one.instance_id)
    found = [_take_one(reading, known.get(reading.instance_id), latest, first=first) for reading in ordered]
    following = {one.place.instance_id: one.place for one in found}
    for name in known.keys() - following.keys():
        place = _unlisted(known[name], now)
        if place is not None:
            following[name] = place
    return Taken(
        window=tuple(one.counted for one in found if one.counted is not None),
        cursor=tuple(following[name] for name in sorted(following)),
        problems=tuple(one.problem for one in found if one.problem is not None),
    )


def fresh_share(cursor: Counts, instances: Sequence[str], now: float, stale_after: float) -> float:
    """Share of the processes that were read within the last `stale_after` seconds, 0 to 1; 0 when there are none.

    What was read as long after `now` was so by a clock that was set back since: nobody knows when.
    """
    read = {instance.instance_id: instance.read_us / 1e6 for instance in cursor}
    fresh = sum(1 for name in instances if abs(now - read.get(name, 0.0)) <= stale_after)
    return fresh / len(instances) if instances else 0.0


@dataclass(frozen=True, slots=True)
class _TakenOne:
    """What one process's reading becomes.

    Attributes:
        place: its place in the next cursor.
        counted: its counts in the window; None: it gave no evidence.
        problem: why it gave none, or what of its counters was left out.
    """

    place: InstanceCounts
    counted: InstanceCounts | None = None
    problem: Problem | None = None


def _take_one(read: Reading, before: InstanceCounts | None, latest: int, *, first: bool) -> _TakenOne:
    """What the cursor and the window get of one process.

    Args:
        read: of the process.
        before: its place in the cursor; None: it has none.
        latest: when the look before read the last of all processes; 0: it read none.
        first: there was none.
    """
    name = read.instance_id
    wrong = complaint(read)
    if wrong:
        return _no_evidence(read, before, wrong)
    reading, strange = without_strange(read)
    series = {one.key: finite(one) for one in reading.series or ()}
    fell = _backwards(reading, before)
    if fell and reading.reused_id:
        anew = Problem(name, f"{fell}, and counts anew from here", lasting=False)
        return _TakenOne(InstanceCounts(name, reading.read_us, arrange(series)), problem=anew)
    if fell:
        return _no_evidence(reading, before, fell)
    past = {one.key: one for one in before.series} if before else {}
    # Another lane may end while calls are under way, which count from zero again; that is no fault of the process.
    beside = {key: one for key, one in series.items() if one.metric == ELSEWHERE and key in past}
    restarted = {key for key, one in beside.items() if _went_back(one, past[key])}
    new = _New(reading, before, latest, first=first)
    counted = {
        key: part
        for key, one in series.items()
        if key not in restarted
        and (part := _difference(one, past.get(key), from_zero=key not in past and new.counts(one)))
    }
    # Of a child process that did not answer they may come back with all their counts.
    splits = Splits(series)
    kept = {key: one for key, one in past.items() if key not in series and not splits.outlive(*key)}
    return _TakenOne(
        place=InstanceCounts(name, reading.read_us, arrange(kept | series)),
        counted=InstanceCounts(name, reading.read_us, arrange(counted)),
        problem=Problem(name, strange, lasting=True) if strange else None,
    )


def _no_evidence(reading: Reading, before: InstanceCounts | None, reason: str) -> _TakenOne:
    """The cursor stays where it was, so that nothing is counted twice when the counters are back."""
    problem = Problem(reading.instance_id, reason, lasting=bool(reading.series))
    return _TakenOne(before or InstanceCounts(reading.instance_id, 0), problem=problem)


def _unlisted(place: InstanceCounts, now: int) -> InstanceCounts | None:
    """What the next cursor keeps of a process that is not listed at `now`; None: not even its name."""
    heard = abs(place.read_us)
    if heard <= 1:
        # It was never read, or a release before this one forgot it, which did not say when.
        return InstanceCounts.forget(place.instance_id, now)
    if heard > now > 0:
        # By a clock that was set back since, or another Evaluator's: it would be kept until that time comes.
        return replace(place, read_us=now if place.read_us > 0 else -now)
    if now - heard > NAMELESS_US:
        return None
    return InstanceCounts.forget(place.instance_id, heard) if now - heard > GONE_US else place


def _backwards(reading: Reading, before: InstanceCounts | None) -> str:
    if before is None or reading.series is None:
        return ""
    # Series of epochs and slices that are over are dropped where no traffic comes; all others stay.
    if not reading.series and any(split_of(one.attributes) is None for one in before.series):
        return "its counters are gone"
    past = {one.key: one for one in before.series}
    for one in reading.series:
        known = past.get(one.key)
        if known is not None and one.metric != ELSEWHERE and _went_back(one, known):
            return f"its counter {one.metric} went backwards"
    return ""


def _went_back(one: Series, past: Series) -> bool:
    if one.labels != past.labels:
        counts = one.by_label
        return any(counts.get(label, 0) < count for label, count in past.by_label.items())
    # Most have not changed, and they have hundreds of counts.
    if one.counts == past.counts:
        return False
    return len(one.counts) != len(past.counts) or any(map(lt, one.counts, past.counts))


def _difference(one: Series, past: Series | None, *, from_zero: bool) -> Series | None:
    """What the series counted since `past`; None: nothing."""
    if past is None and not from_zero:
        return None
    if past is None:
        return one if any(one.counts) else None
    if one.counts == past.counts and one.labels == past.labels:
        return None
    if one.labels:
        before = past.by_label
        changes = ((label, count - before.get(label, 0)) for label, count in zip(one.labels, one.counts, strict=True))
        grown = {label: count for label, count in changes if count}
        return Series(one.metric, one.attributes, tuple(grown.values()), labels=tuple(grown)) if grown else None
    counts = tuple(starmap(sub, zip(one.counts, past.counts, strict=True)))
    return Series(one.metric, one.attributes, counts, one.total - past.total)


class _New:
    """What of a reading counts from zero, of the series that the cursor does not know; all else is history.

    Args:
        reading: of one process.
        before: what the cursor knows of it.
        latest: when the look before read the last of all processes; 0: it read none.
        first: there was none.
    """

    def __init__(self, reading: Reading, before: InstanceCounts | None, latest: int, *, first: bool) -> None:
        self._reading = reading
        self._first = first
        self._forgotten = before is not None and before.forgotten
        self._metrics: frozenset[str] | None = None
        self._began = False
        if before is None:
            self._since, self._began = latest, not 0 < reading.started_us < latest
        elif before.read_us > 0:
            self._since, self._metrics = before.read_us, frozenset(one.metric for one in before.series)
        else:
            # It was seen and not read, and so may be as old as any.
            self._since, self._began = latest or reading.read_us, 0 < latest <= reading.started_us

    def counts(self, one: Series) -> bool:
        """Whether a series counts from zero."""
        if self._reading.reused_id:
            return False
        if self._first:
            return one.metric in FIRST_READ_METRICS
        if self._forgotten:
            return False
        # The epoch of another lane may be as old as that lane.
        if one.metric != ELSEWHERE and any(name in catalog.SPLIT_ATTRIBUTES for name, _ in one.attributes):
            return True
        begun = self._reading.begun_us.get(one.key, 0)
        if begun:
            return begun >= self._since - _BEFORE_US
        return self._began if self._metrics is None else one.metric in self._metrics
