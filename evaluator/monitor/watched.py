"""One metric of a stable version, held against a number that its own past gave."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evaluator.monitor.past import LONGEST, MIDDLE, SHORTEST, SIZES, Known
from evaluator.statistics import means, rates
from evaluator.statistics.bets import Margin
from evaluator.statistics.means import MeanTest
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateTest, RateWindows
from evaluator.window.arms import RuntimeRow
from evaluator.window.labels import RateRow
from services.common.policy.metrics import MetricKind

ALPHA_ENDED: Final = 0.05
"""An alert ends when "it is beyond the limit" is rejected at this level."""
_RECENT_LOOKS: Final = 10

Row = tuple[int, float]
"""Of one look: attempts, batches or labelled rows; and those that were bad, or the batches' seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One metric; of runtimes those of one batch size, since larger batches take longer.

    Attributes:
        metric: errors, runtime, accuracy or F1.
        alpha: the probability with which it ever raises an alert while the limit is kept to.
        past: what it is held against.
        harm: evidence that the limit is exceeded.
        safe: evidence that it is kept to; it counts while there is an alert, and begins anew with each.
        recent: the latest looks that brought something.
        alert: there is one.
        size: of the batches; 0: it is of no batches.
    """

    metric: MetricKind
    alpha: float
    past: Known
    harm: RateTest | MeanTest
    safe: RateTest | MeanTest
    recent: tuple[Row, ...] = ()
    alert: bool = False
    size: int = 0

    @classmethod
    def open(cls, metric: MetricKind, alpha: float, past: Known, size: int = 0) -> "Watched":
        """The metric without evidence; batch sizes share alpha."""
        if size:
            alpha /= SIZES
        if metric is MetricKind.RUNTIME:
            # A batch counts as its bucket's edge, so that 9 % around the limit are undecided.
            harm: RateTest | MeanTest = means.mean_harm_test(SHORTEST, past.limit, alpha)
            safe: RateTest | MeanTest = means.mean_safe_test(LONGEST, past.limit)
        else:
            limit = Margin(past.limit, 0.0)
            harm, safe = rates.harm_test(limit, alpha), rates.non_inferiority_test(limit)
        return cls(metric, alpha, past, harm, safe, size=size)

    @property
    def bar(self) -> float:
        """What the evidence of harm must reach."""
        return log_threshold(self.alpha)

    @property
    def seen(self) -> tuple[int, float]:
        """What the latest looks counted, and the rate or the mean seconds of it; NaN: nothing."""
        n = sum(row[0] for row in self.recent)
        return n, sum(row[1] for row in self.recent) / n if n else math.nan

    def after_rates(self, rows: Sequence[RateRow], effect: float = 1.0) -> "Watched":
        """The metric after a look's attempts or labels; `effect` of rows of one request that are alike."""
        n, x = sum(row[0] for row in rows), sum(row[1] for row in rows)
        if not n:
            return self
        assert isinstance(self.harm, RateTest)  # noqa: S101 - for the type checker: `open` made it so
        assert isinstance(self.safe, RateTest)  # noqa: S101 - as above
        windows = RateWindows.of([(row[0], row[1], 0, 0) for row in rows])
        harm, safe = (rates.update(test, windows, effect) for test in (self.harm, self.safe))
        return self._concluded(harm, safe, (n, x))

    def after_batches(self, rows: Sequence[RuntimeRow]) -> "Watched":
        """The metric after a look's batches, of whatever sizes."""
        mine = [row[1] for row in rows if row[0] == self.size]
        batches = np.array(mine, dtype=np.float64).reshape(-1, len(MIDDLE)).sum(axis=0)
        if not batches.any():
            return self
        assert isinstance(self.harm, MeanTest)  # noqa: S101 - for the type checker: `open` made it so
        assert isinstance(self.safe, MeanTest)  # noqa: S101 - as above
        row = (int(batches.sum()), float((batches * MIDDLE).sum()))
        return self._concluded(means.update(self.harm, batches), means.update(self.safe, batches), row)

    def _concluded(self, harm: RateTest | MeanTest, safe: RateTest | MeanTest, row: Row) -> "Watched":
        recent = (*self.recent, row)[-_RECENT_LOOKS:]
        after = replace(self, harm=harm, safe=safe, recent=recent)
        if not self.alert and harm.max_log_e >= self.bar:
            return replace(after, safe=_anew(safe), alert=True, recent=_beyond(recent, self.past.limit))
        if self.alert and safe.log_e >= log_threshold(ALPHA_ENDED):
            return replace(after, harm=_anew(harm), alert=False)
        return after


def _beyond(recent: tuple[Row, ...], limit: float) -> tuple[Row, ...]:
    """The latest looks that are all beyond the limit: the ones before say nothing of what has changed."""
    back = next((back for back, (n, x) in enumerate(reversed(recent)) if x <= limit * n), 0)
    return recent[-back:]


def _anew(test: RateTest | MeanTest) -> RateTest | MeanTest:
    return rates.restart(test) if isinstance(test, RateTest) else means.restart(test)
