"""The gate on mirrored requests that got a label: of both versions' answers to the same row, which was right.

Rows on which both were right, or both wrong, say nothing (McNemar, Psychometrika 12, 1947); each of the others is a bet
on which of the two is wrong alone more often. So the same labels show a difference with a fraction of the rows that two
samples of different requests take. Evidence is a mean's: a row counts as 1 where the test version is wrong alone, as 0
where stable is, and as 1/2 else, and that mean is held against (1 + margin)/2.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from evaluator.statistics import means
from evaluator.statistics.counts import FloatArray, frozen
from evaluator.statistics.intervals import Interval, mean_interval
from evaluator.statistics.means import MeanTest
from evaluator.statistics.power import remaining
from evaluator.window.labels import LabelPair
from services.common.policy.records import Gate

_VALUES: Final = np.array((0.0, 0.5, 1.0))
"""Of rows on which stable is wrong alone, of all others, and of those on which the test version is."""


def _nothing() -> FloatArray:
    return frozen(np.zeros(3))


@dataclass(frozen=True, slots=True, eq=False)
class PairedGate:
    """Evidence of a gate on pairs.

    Attributes:
        gate: what it watches.
        harm: evidence that the test version is wrong more often than stable on the same rows.
        safe: evidence that it is not, since the step's start.
        seen: rows by which version is wrong alone: stable, neither, the test version.
        both_wrong: rows among those of neither on which both were wrong.
        step_n: rows that `safe` has taken.
        effect: of rows of one request that are alike, as in RateGate.
    """

    gate: Gate
    harm: MeanTest
    safe: MeanTest
    seen: FloatArray = field(default_factory=_nothing)
    both_wrong: int = 0
    step_n: int = 0
    effect: float = 1.0

    @classmethod
    def open(cls, gate: Gate, alpha: float) -> "PairedGate":
        """The gate without evidence.

        Args:
            gate: one on pairs, whose margins are offsets.
            alpha: the probability with which it may roll back a version as good as stable.
        """
        harm, safe = ((1.0 + margin.offset) / 2.0 for margin in (gate.harm, gate.safe))
        return cls(gate, means.mean_harm_test(_VALUES, harm, alpha), means.mean_safe_test(_VALUES, safe))

    @property
    def test_n(self) -> int:
        """Rows that were judged."""
        return int(self.seen.sum())

    @property
    def wrong(self) -> tuple[int, int]:
        """Those of them that the test version and that stable was wrong on."""
        stable_alone, _, test_alone = (int(one) for one in self.seen)
        return test_alone + self.both_wrong, stable_alone + self.both_wrong

    @property
    def needs(self) -> float:
        """No number of rows is enough: how much they say depends on how often the versions disagree."""
        return math.inf

    def judge_harm(self, pairs: Iterable[LabelPair]) -> "PairedGate":
        """The gate after labels that harm is judged by."""
        rows, both_wrong = _rows(pairs)
        return replace(
            self,
            harm=means.update(self.harm, rows, self.effect),
            seen=frozen(self.seen + rows),
            both_wrong=self.both_wrong + both_wrong,
        )

    def judge_safe(self, pairs: Iterable[LabelPair]) -> "PairedGate":
        """The gate after labels that non-inferiority is judged by."""
        rows, _ = _rows(pairs)
        return replace(self, safe=means.update(self.safe, rows, self.effect), step_n=self.step_n + int(rows.sum()))

    def restart(self) -> "PairedGate":
        """The gate with fresh evidence of non-inferiority."""
        return replace(self, safe=means.restart(self.safe), step_n=0)

    def freeze(self, alpha: float, power: float, share: float) -> "PairedGate":
        """The gate as it is; see `needs`."""
        del alpha, power, share
        return self

    def remaining(self, alpha: float, share: float) -> int | None:
        """Forecast: rows until PASS if each version is wrong alone as often as the other; None: unknown."""
        del share
        if not self.test_n:
            return None
        shares = (self.seen + self.seen[::-1]) / (2.0 * self.seen.sum())
        more = remaining(self.safe.process, means.mean_growth(self.safe, shares), alpha)
        return None if more is None else math.ceil(more * self.effect)

    def interval(self) -> Interval:
        """The share of rows that the test version is wrong on less stable's, with a 95 % confidence sequence."""
        found = mean_interval(self.seen, _VALUES)
        return Interval(*(2.0 * one - 1.0 for one in (found.estimate, found.low, found.high)))


def _rows(pairs: Iterable[LabelPair]) -> tuple[FloatArray, int]:
    """Rows by which version is wrong alone, and those on which both were wrong."""
    counts, both_wrong = np.zeros(3), 0
    for test, stable in pairs:
        counts += (stable.alone, test.rows - test.alone - stable.alone, test.alone)
        both_wrong += test.wrong - test.alone
    return counts, both_wrong
