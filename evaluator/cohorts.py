"""A gate where requests are assigned by key: compared by cohorts of keys, at few looks."""

import math
from dataclasses import dataclass, field, replace
from typing import Final

from evaluator.statistics import cohorts
from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.cohorts import CohortCounts, CohortTest, Schedule
from services.common.policy.records import Gate
from services.common.telemetry.catalog import COHORTS

_NOTHING: Final = CohortCounts.none(COHORTS)


@dataclass(frozen=True, slots=True, eq=False)
class CohortGate:
    """Evidence of a gate on two rates, of the present epoch's requests or labels.

    Attributes:
        gate: what it watches.
        harm: evidence that the test version is worse.
        safe: evidence that it is no worse (or, in an A/B test, that it is better), since the step's start.
        seen: what harm is judged by, since the step's start.
        mature: what non-inferiority is judged by, since then.
        schedule: the looks of this step that were taken.
        epoch: the split whose counts these are.
    """

    gate: Gate
    harm: CohortTest
    safe: CohortTest
    seen: CohortCounts = field(default=_NOTHING)
    mature: CohortCounts = field(default=_NOTHING)
    schedule: Schedule = field(default_factory=Schedule)
    epoch: int = -1

    @classmethod
    def open(cls, gate: Gate, steps: int) -> "CohortGate":
        """The gate without evidence.

        Args:
            gate: one that `judged_by_key`.
            steps: of the plan, each of which may spend its part of the error of a rollback.
        """
        if gate.limit is not None:
            harm = safe = Margin(gate.limit.bad_rate(), 0.0)
        else:
            harm = Margin(gate.harm.offset, gate.harm.factor)
            safe = Margin(gate.safe.offset, gate.safe.factor) if gate.better is None else Margin(-gate.better.offset)
        return cls(gate, CohortTest(Side.HARM, harm, 1.0 / steps), CohortTest(Side.NON_INFERIOR, safe))

    @property
    def test_n(self) -> int:
        """Attempts or labels of the test arm that are judged."""
        return int(self.seen.n_test)

    @property
    def step_n(self) -> int:
        """Those that `safe` compares with stable's."""
        return int(self.mature.n_test)

    @property
    def needs(self) -> float:
        """No number of requests is enough: how much more they say depends on how many keys they come from."""
        return math.inf

    @property
    def limit_rate(self) -> float | None:
        """The rate that is judged, at the gate's limit; None: it compares with stable."""
        return None if self.gate.limit is None else self.gate.limit.bad_rate()

    def add(self, seen: CohortCounts, mature: CohortCounts) -> "CohortGate":
        """The gate with what a window, or the labels of a look, counted."""
        return replace(self, seen=self.seen.plus(seen), mature=self.mature.plus(mature))

    def reach(self, at: float) -> "CohortGate":
        """The gate after the look that is due, if one is.

        Args:
            at: how much of the step's period was judged, in parts of it.
        """
        part, schedule = self.schedule.due(at)
        if not part:
            return self
        harm, safe = cohorts.look(self.harm, self.seen, part), cohorts.look(self.safe, self.mature, part)
        return replace(self, harm=harm, safe=safe, schedule=schedule)

    def enter(self, epoch: int) -> "CohortGate":
        """The gate for another split: the arms have other keys in it, and are compared within it alone."""
        if epoch == self.epoch:
            return self
        return replace(self, safe=cohorts.restart(self.safe), seen=_NOTHING, mature=_NOTHING, epoch=epoch)

    def restart(self) -> "CohortGate":
        """The gate with fresh evidence of non-inferiority; the looks that were taken stay taken."""
        return replace(self, safe=cohorts.restart(self.safe), mature=_NOTHING)

    def new_step(self) -> "CohortGate":
        """The gate with the looks of another step before it."""
        return replace(self, schedule=Schedule())

    def freeze(self, alpha: float, power: float, share: float) -> "CohortGate":
        """The gate as it is; see `needs`."""
        del alpha, power, share
        return self

    def remaining(self, alpha: float, share: float) -> int | None:
        """None: how much more requests say is not known."""
        del alpha, share
        return None
