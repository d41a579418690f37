"""The latest looks by themselves: whether a version has just begun to fail.

What e-processes hold back for harm that begins late is less the later it begins, and a sum since the step's start knows
hardly more of the last minutes than that they were few. So before a version is promoted its latest looks are tested by
an ordinary test, as one does who looks once. Whoever is held up by chance goes on when later looks say so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import ndtri

from evaluator.gates.step_counts import NO_COUNTS, StepCounts
from evaluator.window.labels import RateRow
from services.common.policy.timing import AGREEING_LOOKS

_SPANS: Final = (8, 16, 32)
"""Looks back: a version that fails a lot shows in few, one that fails a little in many."""
_DEVIATIONS: Final = -float(ndtri(0.01 / len(_SPANS)))


@dataclass(frozen=True, slots=True)
class RecentLooks:
    """What each of the latest looks that had any of the test arm has counted, the oldest first."""

    looks: tuple[StepCounts, ...] = ()

    def plus(self, rows: Sequence[RateRow]) -> "RecentLooks":
        """With a look's windows."""
        one = NO_COUNTS.plus(rows)
        return RecentLooks((*self.looks, one)[-_SPANS[-1] :]) if one.n_test else self

    def worse(self, offset: float, factor: float) -> StepCounts | None:
        """Both arms in the latest looks by which the test arm is beyond the line offset + factor * stable's rate.

        None: it is not, beyond chance (1 % over all spans). The two worst looks count as the third worst one does, so
        that three have to agree: a process that was started again is no reason to wait.
        """
        spans = (self.looks[-span:] for span in _SPANS if len(self.looks) >= span)
        return next((_sum(looks) for looks in spans if _is_worse(looks, offset, factor)), None)


def _is_worse(looks: Sequence[StepCounts], offset: float, factor: float) -> bool:
    allowed = offset + (factor - 1.0) * _sum(looks).stable_rate
    worst_first = sorted(
        (
            (one.difference - allowed * one.weight, one.variance_test + factor * factor * one.variance_stable)
            for one in looks
        ),
        reverse=True,
    )
    few = AGREEING_LOOKS - 1
    counted = [worst_first[few]] * few + worst_first[few:]
    excess, variance = (sum(part) for part in zip(*counted, strict=True))
    return bool(excess > _DEVIATIONS * math.sqrt(variance))


def _sum(looks: Sequence[StepCounts]) -> StepCounts:
    """Counts of several looks."""
    return StepCounts(
        *(sum(getattr(one, name) for one in looks) for name in ("n_test", "x_test", "n_stable", "x_stable"))
    )


NO_LOOKS: Final = RecentLooks()
"""When a step begins."""
