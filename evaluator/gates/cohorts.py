"""A gate where requests are assigned by key: compared by cohorts of keys, at few looks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from evaluator.statistics import cohorts
from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.cohorts import ENOUGH_COHORTS, CohortCounts, CohortTest
from evaluator.statistics.process import log_threshold
from evaluator.statistics.schedule import Schedule
from services.common.policy.records import Gate
from services.common.telemetry.catalog import COHORTS

_NOTHING: Final = CohortCounts.none(COHORTS)
_FORESEEN: Final = 4.0
"""Periods from here whose looks are forecast."""


class Ahead(NamedTuple):
    """The look that is expected to pass: so many more of the test arm, and parts of the step's period, from here."""

    n: int
    periods: float


class Shown(NamedTuple):
    """Evidence that the test version is no worse."""

    log_e: float


@dataclass(frozen=True, slots=True, eq=False)
class CohortGate:
    """Evidence of a gate on two rates, of the present epoch's requests or labels.

    Attributes:
        gate: what it watches.
        harm: evidence that the test version is worse.
        proof: evidence that it is no worse (or, in an A/B test, that it is better), at the best look of the step.
        spare: as many windows may be bad for the test arm alone, and say nothing of harm: a process that dies fails
            all keys of its arm at once, which no comparison of keys can tell from a bad version.
        seen: what people are shown and harm is judged by, since the step's start.
        worst: of its windows, the `spare` ones with the most excess in the test arm, the worst first.
        best: of an A/B test's windows, as many with the least excess: they say nothing of its being better either.
        mature: what non-inferiority is judged by, since then.
        now: ln(1/p) of what is mature, by itself; None: there is none.
        looked: a look of this step had something to judge.
        schedule: the looks of this step that were taken.
        epoch: the split whose counts these are.
        at: how much of the step's period was judged, in parts of it.
        since: what `mature` was counted from, likewise.
    """

    gate: Gate
    harm: CohortTest
    proof: CohortTest
    spare: int = 0
    seen: CohortCounts = field(default=_NOTHING)
    worst: tuple[CohortCounts, ...] = ()
    best: tuple[CohortCounts, ...] = ()
    mature: CohortCounts = field(default=_NOTHING)
    now: float | None = None
    looked: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    epoch: int = -1
    at: float = 0.0
    since: float = 0.0

    @classmethod
    def open(cls, gate: Gate, steps: int, agreeing: int = 1) -> "CohortGate":
        """The gate without evidence.

        Args:
            gate: one that `judged_by_key`.
            steps: of the plan, each of which may spend its part of the error of a rollback.
            agreeing: looks that must agree on harm at least.
        """
        if gate.limit is not None:
            harm = safe = Margin(gate.limit.bad_rate(), 0.0)
        else:
            harm = Margin(gate.harm.offset, gate.harm.factor)
            safe = Margin(gate.safe.offset, gate.safe.factor) if gate.better is None else Margin(-gate.better.offset)
        test = CohortTest(Side.HARM, harm, 1.0 / steps)
        return cls(gate, test, CohortTest(Side.NON_INFERIOR, safe), agreeing - 1)

    @property
    def safe(self) -> Shown:
        """What a look has shown and the present counts, by themselves, do not contradict.

        Looks may be hours apart, and a version that has passed one may have begun to fail.
        """
        return Shown(0.0 if self.now is None else min(self.proof.max_log_e, self.now))

    @property
    def test_n(self) -> int:
        """Attempts or labels of the test arm that are judged."""
        return int(self.seen.n_test)

    @property
    def step_n(self) -> int:
        """Those that were compared with stable's; 0: no look of this step could compare any."""
        return int(self.mature.n_test) if self.looked else 0

    @property
    def needs(self) -> float:
        """No number of requests is enough: how much more they say depends on how many keys they come from."""
        return math.inf

    @property
    def limit_rate(self) -> float | None:
        """The rate that is judged, at the gate's limit; None: it compares with stable."""
        return None if self.gate.limit is None else self.gate.limit.bad_rate()

    def obstacle(self, test: str, stable: str) -> str:
        """Why the keys show nothing, as a sentence part; empty: they show something.

        Args:
            test: the test version.
            stable: the stable version.
        """
        arms = [(test, self.mature.n_test_by)]
        if self.gate.limit is None:
            arms.append((stable, self.mature.n_stable_by))
        for version, counts in arms:
            used = int((counts > 0).sum())
            if used < ENOUGH_COHORTS:
                return f"more keys of {version}: they are of {used} cohorts, and {ENOUGH_COHORTS} are needed"
            if not cohorts.enough(counts):
                return f"more keys of {version}: one of them has most of its requests"
        return ""

    def add(self, seen: CohortCounts, mature: CohortCounts) -> "CohortGate":
        """The gate with what a window, or the labels of a look, counted."""
        worst = sorted((*self.worst, seen), key=lambda one: one.excess, reverse=True)[: self.spare]
        bad = tuple(one for one in worst if one.excess > 0.0)
        good: tuple[CohortCounts, ...] = ()
        if self.gate.better is not None:
            best = sorted((*self.best, mature), key=lambda one: one.excess)[: self.spare]
            good = tuple(one for one in best if one.excess < 0.0)
        return replace(self, seen=self.seen.plus(seen), worst=bad, best=good, mature=self.mature.plus(mature))

    def reach(self, at: float) -> "CohortGate":
        """The gate after a judged window, and after the look that is due, if one is.

        Args:
            at: how much of the step's period was judged, in parts of it.
        """
        part, schedule = self.schedule.due(at)
        proving = _without(self.mature, self.best)
        now = cohorts.evidence(self.proof, proving)
        gate = replace(self, now=now, schedule=schedule, at=at)
        if not part:
            return gate
        return replace(
            gate,
            harm=cohorts.look(self.harm, _without(self.seen, self.worst), part),
            proof=cohorts.look(self.proof, proving, part),
            looked=self.looked or now is not None,
        )

    def enter(self, epoch: int) -> "CohortGate":
        """The gate for another split: the arms have other keys in it, and are compared within it alone.

        What was shown of the keys before it stays shown, once those of now do not contradict it.
        """
        if epoch == self.epoch:
            return self
        harm = replace(self.harm, log_e=0.0)
        return replace(
            self, harm=harm, seen=_NOTHING, worst=(), best=(), mature=_NOTHING, now=None, epoch=epoch, since=self.at
        )

    def restart(self) -> "CohortGate":
        """The gate with fresh evidence of non-inferiority; the looks that were taken stay taken."""
        return replace(self, proof=cohorts.restart(self.proof), best=(), mature=_NOTHING, now=None, since=self.at)

    def new_step(self, agreeing: int) -> "CohortGate":
        """The gate with the looks of another step before it; `agreeing` as in `open`."""
        harm, proof = replace(self.harm, saved=0.0), replace(self.proof, saved=0.0)
        return replace(
            self,
            harm=harm,
            proof=proof,
            spare=agreeing - 1,
            schedule=Schedule(),
            looked=False,
            at=0.0,
            since=0.0,
        )

    def freeze(self, alpha: float, power: float, share: float) -> "CohortGate":
        """The gate as it is; see `needs`."""
        del alpha, power, share
        return self

    def ahead(self, alpha: float) -> Ahead | None:
        """Forecast: the look that shows it no worse, if keys go on coming as they came; None: unknown, or not soon.

        Of versions alike; where that shows nothing (a limit, an A/B test), of a version that goes on as it was.
        """
        counted = self.at - self.since
        looks = self.schedule.ahead(self.at + _FORESEEN)
        if not counted > 0.0 or not self.mature.n_test:
            return None
        times = np.array([(time - self.since) / counted for time, _ in looks])
        found = cohorts.expected(self.proof, self.mature, times, alike=self.gate.better is None)
        if found is None:
            return None
        bar = log_threshold(alpha)
        # What a look has shown already stays shown: then the counts have to agree with it, and need no look.
        parts = [1.0 if self.proof.max_log_e >= bar else part * self.proof.part for _, part in looks]
        parts[0] += self.proof.saved * self.proof.part
        passing = np.flatnonzero(np.log(np.minimum(parts, 1.0)) + found >= bar)
        if not passing.size:
            return None
        first = int(passing[0])
        return Ahead(math.ceil(self.mature.n_test * (times[first] - 1.0)), looks[first][0] - self.at)


def _without(counts: CohortCounts, windows: Iterable[CohortCounts]) -> CohortCounts:
    for one in windows:
        counts = counts.minus(one)
    return counts
