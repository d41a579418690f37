"""One look at one lane: read, fold, record, and undo where the lane asks for it.

What it goes on from lies in the Registry, so that it can be killed at any moment, and two Evaluators never count the
same window twice.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from evaluator.monitor import checkpoint, report
from evaluator.monitor.watch import INPUTS, Watch, after, missed, open_watch
from evaluator.ports import (
    EndedError,
    Lanes,
    LaneView,
    MetricsSource,
    MonitorRecord,
    MonitorView,
    RefusedError,
    SupersededError,
    UnreachableError,
)
from evaluator.processes import concerned
from evaluator.terms import Terms
from evaluator.window.counts import Counts, InstanceCounts
from evaluator.window.readings import Reading
from evaluator.window.windows import take
from services.common.clock import Clock
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import PlanDraft, PolicyDraft
from services.common.policy.metrics import MetricKind

_EARLY: Final = 0.1
"""Part of the interval by which a look may come early."""
_WHATEVER_COMES: Final = frozenset({MetricKind.ERRORS.value, MetricKind.RUNTIME.value})
"""Gates by which a version is judged whatever its inputs are."""
MOST_APART: Final = 3.0
"""Intervals after which a look has missed too much: what was counted meanwhile is of another split, perhaps."""


class Monitor:
    """Looks at lanes without a rollout.

    Args:
        registry: names them, and keeps what was found.
        source: where counts come from.
        clock: the time.
        log: a line per alert.
        interval: seconds between two looks at a lane.
        scrape_seconds: how long a process may take to answer.
    """

    def __init__(
        self,
        registry: Lanes,
        source: MetricsSource,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        interval: float,
        scrape_seconds: float,
    ) -> None:
        self._registry = registry
        self._source = source
        self._clock = clock
        self._log = log
        self._interval = interval
        self._scrape_seconds = scrape_seconds
        self._seen: dict[tuple[str, str], tuple[int, float]] = {}
        self._due: dict[tuple[str, str], float] = {}

    async def look(self, model: str, lane: LaneView) -> None:
        """Looks at a lane, if a look is due.

        Raises:
            EndedError: there is no such lane or version any more.
            SupersededError: another Evaluator was faster, or the lane has changed.
            UnreachableError: the Registry is away.
        """
        here = model, lane.segment
        if not lane.stable or lane.rollout or self._clock.monotonic() < self._due.get(here, -math.inf):
            return
        known = await self._registry.monitor(model, lane.segment)
        passed = self._passed(here, known)
        apart = self._interval * (1.0 - _EARLY)
        if known.off:
            return
        # Until then there is nothing to ask for: of thousands of lanes most were looked at a moment ago.
        if passed < apart:
            self._due[here] = self._clock.monotonic() + apart - passed
            return
        terms = await self._terms(model, lane)
        same = known.version == lane.stable
        # Of processes that are gone no count of a version that has just become stable is in the way of being new.
        cursor = known.cursor if same else ()
        processes = concerned(await self._registry.processes(), model, cursor, self._clock.now())
        readings = await self._source.read(processes, terms, self._scrape_seconds)
        read = _read_time(known) if same else 0.0
        gap = passed if read else math.inf
        begun = gap > MOST_APART * self._interval
        taken = take(_forgotten(cursor, readings) if begun else cursor, readings, first=begun)

        def found_by(watch: Watch) -> MonitorRecord:
            if begun:
                watch = missed(watch, max((one.read_us for one in readings), default=0) / 1e6 or watch.time)
            else:
                watch = after(watch, taken.window, lane.epoch, lane.slice_seconds)
            return MonitorRecord(
                sequence=known.sequence + 1,
                version=lane.stable,
                decision=report.decision(watch, taken.problems, gap if begun and read else 0.0),
                alerts=tuple((alert.gate, alert.reason) for alert in report.alerts(watch)),
                evidence=checkpoint.dump(watch),
                cursor=taken.cursor,
            )

        try:
            # The evidence of a version that was stable before is of another time, and so are the counts.
            record = found_by(checkpoint.load(known.evidence if same else b"", terms, known.learn))
            await self._registry.record_monitor(model, lane.segment, record)
        except (SupersededError, EndedError, RefusedError, UnreachableError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, no later look could go on from it either
            record = found_by(open_watch(terms, known.learn))
            await self._registry.record_monitor(model, lane.segment, record)
            self._log.error(
                "what was kept of a lane cannot be gone on from, and what its version is like is learnt anew",
                model=model,
                segment=lane.segment,
                exc_info=error,
            )
        seen = self._clock.monotonic()
        self._seen[here], self._due[here] = (record.sequence, seen), seen + apart
        self._log.debug("looked", model=model, segment=lane.segment, sequence=record.sequence)
        for gate, reason in record.alerts:
            self._log.info("stands out", model=model, segment=lane.segment, gate=gate, reason=reason)
        # What the answers are like of inputs that no version was made for is no version's fault.
        drifted = any(gate == INPUTS for gate, _ in record.alerts)
        blamed = [reason for gate, reason in record.alerts if not drifted or gate in _WHATEVER_COMES]
        if blamed and known.undo and lane.previous:
            await self._undo(model, lane, record.sequence, blamed[0])

    def keep(self, lanes: Iterable[tuple[str, str]]) -> None:
        """Forgets what was seen of all other lanes, (model, segment)."""
        there = set(lanes)
        self._seen = {lane: seen for lane, seen in self._seen.items() if lane in there}
        self._due = {lane: due for lane, due in self._due.items() if lane in there}

    async def _undo(self, model: str, lane: LaneView, sequence: int, reason: str) -> None:
        """Also one that was not carried out at an earlier look: as long as there is an alert it is asked for."""
        try:
            await self._registry.undo(model, lane, sequence, reason)
        except RefusedError as error:
            self._log.warning("an undo was refused; the next look asks again", model=model, reason=str(error))

    def _passed(self, lane: tuple[str, str], known: MonitorView) -> float:
        """Seconds since the latest look."""
        sequence, since = self._seen.get(lane, (-1, 0.0))
        if sequence != known.sequence:
            since = self._clock.monotonic()
            self._seen[lane] = known.sequence, since
        # By its own clock where it has read something, for the Registry's may differ.
        passed = self._clock.now() - (_read_time(known) or known.record_time)
        # Another Evaluator's clock is ahead of this one's, or this one was set back: count from when the look was seen.
        return passed if passed >= 0 else self._clock.monotonic() - since

    async def _terms(self, model: str, lane: LaneView) -> Terms:
        version = await self._registry.version(model, lane.stable)
        policy, _ = complete_policy(PolicyDraft(), version.meaning)
        plan, _ = complete_plan(PlanDraft())
        return Terms(
            model=model,
            segment=lane.segment,
            test=lane.stable,
            stable="",
            policy=policy,
            plan=plan,
            test_profile=version.profile,
            declared=version.meaning.classes or (),
        )


def _read_time(known: MonitorView) -> float:
    """When a process was last read, by an Evaluator's clock; 0: none was."""
    return max(max((one.read_us for one in known.cursor), default=0), 0) / 1e6


def _forgotten(cursor: Counts, readings: Sequence[Reading]) -> Counts:
    """A cursor by which all that any process has counted is history, that of those too which are not read now."""
    heard = {one.instance_id: abs(one.read_us) for one in cursor} | {one.instance_id: one.read_us for one in readings}
    return tuple(InstanceCounts.forget(name, heard[name]) for name in sorted(heard))
