"""The gate on class balance: whether each class is answered as often as stable answers it, in both directions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluator.gates.judging import Judging, judge_each
from evaluator.statistics import rates
from evaluator.statistics.bets import Margin, smoothed_rate
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.intervals import Interval, RateEstimate
from evaluator.statistics.power import needed, rate_growth, remaining
from evaluator.statistics.rates import RateTest, RateWindows
from evaluator.statistics.side_by_side import Judged
from evaluator.window.arms import BalanceRow
from services.common.policy.records import Gate


@dataclass(frozen=True, slots=True)
class Moved:
    """The class whose share differs most."""

    name: str
    seen: RateEstimate
    difference: Interval


@dataclass(frozen=True, slots=True, eq=False)
class BalanceGate:
    """Evidence of a gate on K classes: each one's share of the predictions may be neither greater nor smaller.

    Attributes:
        gate: what it watches.
        classes: K of them.
        harm: evidence that some class is answered more, or less, often: a mixture over 2 K shares.
        safe: evidence that none is, since the step's start: 2 K tests that must all show it.
        seen: both arms in all judged windows, by class.
        step_n: predictions of the test arm that `safe` has compared with stable's.
        needs: as in RateGate, in predictions.
        effects: (K) the design effect of each class's predictions: evidence of the class is divided by it.
        step_stable: predictions of stable's that `step_n` was compared with.
    """

    gate: Gate
    classes: tuple[str, ...]
    harm: RateTest
    safe: RateTest
    seen: tuple[RateEstimate, ...]
    effects: FloatArray
    step_n: int = 0
    needs: float | None = None
    step_stable: int = 0

    @classmethod
    def open(cls, gate: Gate, alpha: float, classes: tuple[str, ...]) -> "BalanceGate":
        """The gate without evidence."""
        shares = 2 * len(classes)
        nothing = np.zeros(shares)
        return cls(
            gate,
            classes,
            rates.harm_test_of_any(Margin(gate.harm.offset), alpha, shares),
            rates.non_inferiority_test(Margin(gate.safe.offset), nothing, nothing),
            tuple(RateEstimate() for _ in classes),
            np.ones(len(classes)),
        )

    @property
    def effect(self) -> float:
        """The greatest of the effects, by which the slowest class goes."""
        return float(self.effects.max())

    @property
    def test_n(self) -> int:
        """Predictions of the test arm that were judged."""
        return int(self.seen[0].n_test)

    def judge(self, rows: Sequence[BalanceRow]) -> "BalanceGate":
        """The gate after one look."""
        judging = self.judging(rows)
        return self if judging is None else judging.after(*judge_each([judging])[0])

    def judging(self, rows: Sequence[BalanceRow]) -> "Judging[BalanceGate] | None":
        """Both tests before a look; None: there are no rows."""
        if not rows:
            return None
        windows = _windows(rows)

        def after(harm: RateTest, safe: RateTest) -> BalanceGate:
            seen = (
                one.plus(RateWindows(*(part[:, place] for part in _parts(windows))), float(self.effects[place]))
                for place, one in enumerate(self.seen)
            )
            step_n = self.step_n + sum(sum(test) for test, stable in rows if any(stable))
            step_stable = self.step_stable + sum(sum(stable) for test, stable in rows if any(test))
            return replace(self, harm=harm, safe=safe, seen=tuple(seen), step_n=step_n, step_stable=step_stable)

        # What is none of a class varies as the class does.
        both = np.concatenate((self.effects, self.effects))
        return Judging(Judged(self.harm, windows, both), Judged(self.safe, windows, both), after)

    def learn(self, rows: Sequence[BalanceRow]) -> "BalanceGate":
        """The gate with stable's predictions added to the past, and nothing judged."""
        if not rows:
            return self
        windows = _windows([((0,) * len(self.classes), stable) for _, stable in rows])
        return replace(self, harm=rates.update(self.harm, windows), safe=rates.update(self.safe, windows))

    def restart(self) -> "BalanceGate":
        """The gate with fresh evidence that nothing moved."""
        return replace(self, safe=rates.restart(self.safe), step_n=0, step_stable=0)

    def freeze(self, alpha: float, power: float, share: float) -> "BalanceGate":
        """The gate with `needs`, once stable's past says what it takes; it never changes afterwards."""
        if self.needs is not None or self.harm.n_past[0] < rates.ENOUGH_PAST:
            return self
        return replace(self, needs=self._needed(alpha, power, share))

    def renew(self, alpha: float, power: float) -> "BalanceGate":
        """The gate with more `needs`, where the classes' shares or the step's ask for more than at the start."""
        if self.needs is None or not (self.step_n and self.step_stable):
            return self
        needs = self._needed(alpha, power, self.step_n / (self.step_n + self.step_stable))
        return replace(self, needs=max(self.needs, needs))

    def _needed(self, alpha: float, power: float, share: float) -> float:
        """Predictions with which a move of the safe margin shows; infinity: no number is enough."""
        found = self.harmed(self.gate.safe.offset, alpha, power, share)
        return math.inf if found is None else float(found) * self.effect

    def harmed(self, moved: float, alpha: float, power: float, share: float) -> int | None:
        """Predictions with which a share that has moved by so much rolls back; None: never."""
        # The share whose counts vary most needs most.
        stable = float(min(_shares(self.harm), key=lambda rate: abs(rate - 0.5)))
        single = rates.harm_test(self.harm.margin, alpha)
        growth = rate_growth(single, min(moved + stable, 1.0), stable, share)
        # Among 2 K candidates of one mixture each has so much less of the wealth.
        return needed(single.process, growth, alpha / (2 * len(self.classes)), power)

    def remaining(self, alpha: float, share: float) -> int | None:
        """Forecast: predictions of the test arm until PASS if the versions are alike; None: unknown."""
        if self.safe.n_past[0] < rates.ENOUGH_PAST:
            return None
        last = int(np.argmin(self.safe.process.log_e))
        stable = float(_shares(self.safe)[last])
        process = self.safe.process
        alone = replace(
            process,
            log_wealth=process.log_wealth[last],
            log_e=process.log_e[last],
            max_log_e=process.max_log_e[last],
        )
        growth = rate_growth(self.safe, stable, stable, share)
        more = remaining(alone, growth, alpha)
        return None if more is None else math.ceil(more * self.effect)

    def most_moved(self) -> Moved:
        """The class whose share differs most between the arms."""
        found = [Moved(name, seen, seen.interval()) for name, seen in zip(self.classes, self.seen, strict=True)]
        return max(found, key=lambda one: 0.0 if math.isnan(one.difference.estimate) else abs(one.difference.estimate))


def _windows(rows: Sequence[BalanceRow]) -> RateWindows:
    """The rows' shares, those of the classes first and then those of all others: (windows, 2 K)."""
    test, stable = (np.array([row[arm] for row in rows], dtype=np.float64) for arm in (0, 1))
    n_test, n_stable = (np.repeat(arm.sum(axis=1, keepdims=True), 2 * arm.shape[1], axis=1) for arm in (test, stable))
    x_test, x_stable = (np.hstack((arm, arm.sum(axis=1, keepdims=True) - arm)) for arm in (test, stable))
    return RateWindows(n_test, x_test, n_stable, x_stable)


def _parts(windows: RateWindows) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return windows.n_test, windows.x_test, windows.n_stable, windows.x_stable


def _shares(test: RateTest) -> FloatArray:
    return smoothed_rate(test.n_past, test.x_past)
