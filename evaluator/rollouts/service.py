"""One look at one rollout: read, fold, decide, record, act.

Nothing is lost when it ends anywhere in between: the Registry holds the windows and the cursor, and the next look, by
this process or another, goes on from there. What is kept in memory is a copy.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from evaluator import words
from evaluator.evidence.fold import fold
from evaluator.evidence.state import Look, State, start
from evaluator.meters import Meters
from evaluator.ports import (
    LaneView,
    MetricsSource,
    ProcessView,
    RefusedError,
    Registry,
    RolloutView,
    SupersededError,
    Traces,
)
from evaluator.processes import concerned
from evaluator.reading_terms import TermsReader
from evaluator.rollouts.holds import metric_holds
from evaluator.rollouts.spans import Spans
from evaluator.terms import Terms
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Decision, Phase
from evaluator.verdict.readiness import Worker
from evaluator.verdict.reports import Verdict
from evaluator.window.counts import Counts
from evaluator.window.windows import Taken, take
from services.common.clock import Clock, recordable
from services.common.policy.records import Violation

_EARLY: Final = 0.1
"""Part of the look interval by which a look may come early."""
_MOST_ROLLOUTS: Final = 1_000


@dataclass(slots=True)
class _Known:
    """What is remembered of a rollout.

    Attributes:
        state: the evidence after its latest look.
        cursor: the cumulative counts after it.
        since: when it was seen, in the clock's monotonic seconds.
        epoch_since: when counts in its epoch were first seen to have been read, likewise; infinity: none were.
    """

    state: State
    cursor: Counts
    since: float = 0.0
    epoch_since: float = math.inf


class Evaluator:
    """Looks at rollouts.

    Args:
        registry: what is recorded, and carries decisions out.
        source: where counts come from.
        clock: the time.
        spans: traces of decisions.
        traces: names traces of the version that is decided about.
        meters: counts of decisions.
        log: one line per decision.
        scrape_seconds: how long a process may take to answer.
    """

    def __init__(
        self,
        registry: Registry,
        source: MetricsSource,
        *,
        clock: Clock,
        spans: Spans,
        traces: Traces,
        meters: Meters,
        log: structlog.typing.FilteringBoundLogger,
        scrape_seconds: float,
    ) -> None:
        self._registry = registry
        self._source = source
        self._clock = clock
        self._spans = spans
        self._traces = traces
        self._meters = meters
        self._log = log
        self._scrape_seconds = scrape_seconds
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reader = TermsReader(registry)

    def forget(self, name: str) -> None:
        """Frees what is remembered of a rollout that has ended."""
        self._known.pop(name, None)

    async def look(self, name: str) -> float:
        """Looks at a rollout if a look is due, and answers the seconds until the next one.

        Args:
            name: `models/{model}/rollouts/{rollout}`.

        Raises:
            EndedError: there is nothing to look at any more.
            SupersededError: somebody else was faster; look again soon.
            UnreachableError: the Registry is away.
        """
        rollout = await self._registry.rollout(name)
        if rollout.phase is None:
            self.forget(name)
            return 1.0
        lane = await self._registry.lane(rollout.model, rollout.segment)
        stable = rollout.stable or lane.stable
        if not stable and rollout.phase is Phase.WAITING:
            # A lane's first version is compared with nothing, but whether it can be served is seen all the same.
            stable = rollout.test
        if not stable:
            return 1.0
        found = await self._reader.read(rollout, stable)
        terms = found.terms
        interval = terms.policy.look_interval
        if found.violations:
            await self._give_up(rollout, lane, terms, found.violations)
            return max(interval, 30.0)
        known = await self._catch_up(rollout, terms)
        passed = self._clock.now() - known.state.time
        if passed < 0:
            # Another Evaluator's clock is ahead of this one's: count from when its look was seen.
            passed = self._clock.monotonic() - known.since
        if known.state.sequence and passed < interval * (1.0 - _EARLY):
            return interval - passed
        processes = await self._registry.processes()
        timeout = min(self._scrape_seconds, max(interval / 2, 0.5))
        read = concerned(processes, rollout.model, known.cursor, self._clock.now())
        readings = await self._source.read(read, terms, timeout)
        taken = take(known.cursor, readings, first=known.state.sequence == 0)
        await self._conclude(rollout, lane, known, taken, processes, read)
        return interval

    async def _conclude(
        self,
        rollout: RolloutView,
        lane: LaneView,
        known: _Known,
        taken: Taken,
        processes: Sequence[ProcessView],
        read: Sequence[ProcessView],
    ) -> None:
        """Folds the window in, decides, records, acts; `read`: the processes that were, of all."""
        assert rollout.phase is not None  # noqa: S101 - for the type checker: look() has left otherwise
        # As it will be recorded: another Evaluator, or a replay, concludes the same from it to every bit.
        before, terms, now = known.state, known.state.terms, recordable(self._clock.now())
        policy = terms.policy
        # A clock that was set back, or is behind another Evaluator's: count from when the epoch was seen.
        seen_for = self._clock.monotonic() - known.epoch_since
        # One that was set forward is ahead of no more than was watched.
        steady = before.passing.to(now, before.most_watched).steady(now)
        settled_for = max(0.0, steady - before.epoch_since, seen_for) if before.epoch == lane.epoch else 0.0
        # The first window of an epoch begins in the one before.
        settling = before.settling(max(rollout.step, 0))
        settled = before.epoch == lane.epoch and settled_for >= settling - _EARLY * policy.look_interval
        # Counts that come late may be of before the split in force, which was first seen with counts of that age.
        age = self._source.age(terms)
        begin = _begin(known.cursor, taken.window)
        since_begin = before.passing.steady(begin) - before.epoch_since
        after = max(since_begin, seen_for - (now - begin) if begin <= now else -math.inf)
        settled = settled and (not age or after >= age)
        judged = rollout.phase is not Phase.WAITING and settled and bool(taken.window)
        sequence = before.sequence + 1
        elapsed = rollout.elapsed(now)
        look = Look(
            sequence=sequence,
            epoch=lane.epoch,
            slice_seconds=lane.slice_seconds,
            step=rollout.step,
            judged=judged,
            window=taken.window,
            shares=lane.shares,
            time=now,
            elapsed=elapsed,
        )
        state = fold(before, look)
        holds = list(metric_holds(policy, taken, read, now))
        if not settled and rollout.phase is not Phase.WAITING:
            left = words.duration(max(settling, age) - settled_for)
            why = f", since slow answers of {terms.stable} come so late" if settling > policy.settling else ""
            holds.append(f"the split has just changed; counts are judged again in {left}{why}")
        workers = _workers(processes, rollout.model)
        at = Circumstances(rollout.phase, now, elapsed, workers, tuple(holds), rollout.approval_missing)
        decision = decide(state, at)
        await self._registry.record(rollout.name, look, terms.policy_hash(), taken.cursor, decision)
        self._remember(rollout.name, _Known(state, taken.cursor), known)
        self._log.debug("looked", rollout=rollout.name, sequence=look.sequence, reason=decision.reason)
        if decision.action in (Action.ROLLBACK, Action.PROMOTE):
            decision = replace(decision, trace_ids=await self._traces.of(processes, terms))
        if decision.action is not Action.NONE:
            await self._act(rollout, look.sequence, terms, decision)

    async def _act(self, rollout: RolloutView, sequence: int, terms: Terms, decision: Decision) -> None:
        with self._spans.decision(rollout.name, sequence, terms, decision):
            try:
                await self._registry.act(rollout, sequence, decision)
            except RefusedError as error:
                self._log.warning(
                    "refused; the next look decides again",
                    rollout=rollout.name,
                    action=decision.action.value,
                    reason=str(error),
                )
                return
            self._meters.decided(decision.action.value)
            self._log.info(
                "decided",
                rollout=rollout.name,
                version=terms.test,
                action=decision.action.value,
                code=decision.code,
                gate=decision.gate,
                reason=decision.reason,
            )

    async def _give_up(
        self, rollout: RolloutView, lane: LaneView, terms: Terms, violations: Sequence[Violation]
    ) -> None:
        """Ends a rollout that cannot be judged, since nobody would see its harm.

        The Registry refuses such a policy; one of an older release may have become one.
        """
        listed = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        reason = f"it can't be judged by its policy ({listed}); start it again with another"
        cursor: Counts = ()
        async for page in self._registry.recorded(rollout.name, max(rollout.sequence - 1, 0)):
            cursor = page.cursor
        look = Look(
            sequence=rollout.sequence + 1,
            epoch=lane.epoch,
            slice_seconds=lane.slice_seconds,
            step=rollout.step,
            judged=False,
            window=(),
        )
        decision = Decision(Action.CANCEL, Verdict.INCONCLUSIVE, reason, "POLICY_INVALID")
        await self._registry.record(rollout.name, look, "", cursor, decision)
        await self._act(rollout, look.sequence, terms, decision)

    async def _catch_up(self, rollout: RolloutView, terms: Terms) -> _Known:
        """The evidence up to the rollout's latest look: from memory, and what others recorded since."""
        known = self._known.get(rollout.name)
        if known is not None and known.state.terms == terms and known.state.sequence == rollout.sequence:
            return known
        if known is None or known.state.terms != terms or known.state.sequence > rollout.sequence:
            known = _Known(start(terms), ())
        state, cursor = known.state, known.cursor
        async for page in self._registry.recorded(rollout.name, state.sequence):
            for look in page.looks:
                if look.sequence != state.sequence + 1:
                    raise SupersededError(f"look {state.sequence + 1} is missing among the recorded ones")
                state = fold(state, look)
                # A long rollout's evidence takes seconds to rebuild, and the lease must be renewed meanwhile.
                await asyncio.sleep(0)
            cursor = page.cursor
        return self._remember(rollout.name, _Known(state, cursor), known)

    def _remember(self, name: str, known: _Known, before: _Known) -> _Known:
        known.since = self._clock.monotonic()
        if before.state.epoch == known.state.epoch and not math.isinf(before.epoch_since):
            known.epoch_since = before.epoch_since
        elif not math.isinf(known.state.epoch_since):
            known.epoch_since = known.since
        self._known[name] = known
        self._known.move_to_end(name)
        while len(self._known) > _MOST_ROLLOUTS:
            self._known.popitem(last=False)
        return known


def _begin(cursor: Counts, window: Counts) -> float:
    """Since when the first process of a window counts in it, in seconds; 0: all of them are new."""
    known = {instance.instance_id: instance.read_us for instance in cursor if instance.read_us > 0}
    return min((known[one.instance_id] for one in window if one.instance_id in known), default=0) / 1e6


def _workers(processes: Sequence[ProcessView], model: str) -> tuple[Worker, ...]:
    return tuple(
        Worker(process.instance_id, tuple(served for name, served in process.served if name == model))
        for process in processes
        if process.worker
    )
