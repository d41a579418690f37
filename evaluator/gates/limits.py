"""The gate on runtimes against a number: the mean of the batches, or a quantile of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from evaluator.statistics import means
from evaluator.statistics.counts import FloatArray, frozen
from evaluator.statistics.intervals import Interval, mean_interval, runtime_quantile
from evaluator.statistics.means import MeanTest
from evaluator.statistics.power import needed, remaining
from evaluator.window.arms import BUCKETS, RuntimeRow
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_SAFE, Gate
from services.common.telemetry import catalog

_BOUNDS: Final = catalog.INFERENCE_DURATION.bounds
RATIO: Final = _BOUNDS[1] / _BOUNDS[0]
_LOWER: Final = np.array((0.0, *_BOUNDS))
_UPPER: Final = np.array((*_BOUNDS, _BOUNDS[-1]))
"""Seconds that a batch of each bucket took at least and at most; what is slower than the last bound counts as that."""
_UPPER_OPEN: Final = np.array((*_BOUNDS, math.inf))
_MIDDLE: Final = np.sqrt(np.maximum(_LOWER, _BOUNDS[0] / 2) * _UPPER)
ENOUGH_PAST: Final = 30


def _nothing() -> FloatArray:
    return frozen(np.zeros(BUCKETS))


@dataclass(frozen=True, slots=True, eq=False)
class RuntimeLimitGate:
    """Evidence of a gate on runtimes that a number limits, all batch sizes together.

    Harm counts each batch as the lower edge of its bucket and safety as the upper one: between them lie 9 %, in which
    neither is shown.

    Attributes:
        gate: what it watches.
        harm: evidence that the limit is exceeded.
        safe: evidence that it is kept to, since the step's start.
        test: judged batches of the test arm by runtime, (buckets).
        control: the same of the control arm, for people's eyes.
        past: control's batches before the first look that was judged, and with it the shape that `needs` rests on.
        step_n: batches of the test arm that `safe` has taken.
        needs: batches of the test arm with which a mean or a quantile two buckets beyond the limit would have shown.
    """

    gate: Gate
    harm: MeanTest
    safe: MeanTest
    test: FloatArray = field(default_factory=_nothing)
    control: FloatArray = field(default_factory=_nothing)
    past: FloatArray = field(default_factory=_nothing)
    step_n: int = 0
    needs: float | None = None

    @classmethod
    def open(cls, gate: Gate, alpha: float) -> "RuntimeLimitGate":
        """The gate without evidence.

        Args:
            gate: one on runtimes with a limit.
            alpha: the probability with which it may roll back a version that keeps to it.
        """
        seconds, quantile = _limit(gate)
        if quantile:
            beyond = 1.0 - quantile
            return cls(
                gate,
                means.mean_harm_test(np.where(seconds * (1.0 - 1e-9) <= _LOWER, 1.0, 0.0), beyond, alpha),
                means.mean_safe_test(np.where(seconds * (1.0 + 1e-9) < _UPPER_OPEN, 1.0, 0.0), beyond),
            )
        return cls(gate, means.mean_harm_test(_LOWER, seconds, alpha), means.mean_safe_test(_UPPER, seconds))

    @property
    def test_n(self) -> int:
        """Batches of the test arm that were judged."""
        return int(self.test.sum())

    @property
    def control_n(self) -> int:
        """Batches of the control arm at the judged looks."""
        return int(self.control.sum())

    def judge(self, rows: Sequence[RuntimeRow]) -> "RuntimeLimitGate":
        """The gate after one look."""
        test, control = _added(rows)
        return replace(
            self,
            harm=means.update(self.harm, test),
            safe=means.update(self.safe, test),
            test=frozen(self.test + test),
            control=frozen(self.control + control),
            step_n=self.step_n + int(test.sum()),
        )

    def learn(self, rows: Sequence[RuntimeRow]) -> "RuntimeLimitGate":
        """The gate with control's batches added to the past, and nothing judged."""
        return replace(self, past=frozen(self.past + _added(rows)[1]))

    def restart(self) -> "RuntimeLimitGate":
        """The gate with fresh evidence that the limit is kept to."""
        return replace(self, safe=means.restart(self.safe), step_n=0)

    def freeze(self, alpha: float, power: float, share: float) -> "RuntimeLimitGate":
        """The gate with `needs`, once control's past says how runtimes spread; it never changes afterwards."""
        del share
        if self.needs is not None or (self.past + self.control).sum() < ENOUGH_PAST:
            return self
        found = self.harmed(RATIO ** DEFAULT_SAFE[MetricKind.RUNTIME].buckets - 1.0, alpha, power)
        return replace(self, needs=math.inf if found is None else float(found))

    def harmed(self, beyond: float, alpha: float, power: float) -> int | None:
        """Batches with which a value `beyond` the limit (0.1: by 10 %) rolls back; None: never, or not known."""
        known = self.past + self.control
        if known.sum() < ENOUGH_PAST:
            return None
        return needed(self.harm.process, means.mean_growth(self.harm, self._beyond(known, beyond)), alpha, power)

    def remaining(self, alpha: float, share: float) -> int | None:
        """Forecast: batches of the test arm until PASS if its runtimes (or stable's) stay; None: unknown."""
        del share
        seen = self.test if self.test_n else self.past + self.control
        if not seen.sum():
            return None
        return remaining(self.safe.process, means.mean_growth(self.safe, seen / seen.sum()), alpha)

    @property
    def limit_seconds(self) -> float:
        """The number that the gate holds runtimes to."""
        return _limit(self.gate)[0]

    def past_seconds(self) -> float:
        """Control's mean or quantile so far, in seconds; NaN: nothing is known."""
        return self._seconds(self.past + self.control)

    def seconds(self) -> tuple[float, float]:
        """The mean or the quantile of the test and of the control arm, in seconds; NaN where an arm has none."""
        return self._seconds(self.test), self._seconds(self.control)

    def interval(self) -> Interval:
        """The test arm's value over the limit, less 1, with the limits of a 95 % confidence sequence."""
        limit, quantile = _limit(self.gate)
        if not self.test_n:
            return Interval(math.nan, math.nan, math.nan)
        if not quantile:
            mean = mean_interval(self.test, _MIDDLE / limit)
            return Interval(mean.estimate - 1.0, mean.low - 1.0, mean.high - 1.0)
        # The share below the true quantile is `quantile`; its interval says between which quantiles seen that lies.
        below = mean_interval(self.test, np.where(self._seconds(self.test) >= _MIDDLE, 1.0, 0.0))
        radius = max(below.high - below.estimate, below.estimate - below.low)
        found = (
            runtime_quantile(self.test, _BOUNDS, min(max(one, 0.0), 1.0))
            for one in (quantile, quantile - radius, quantile + radius)
        )
        return Interval(*(one / limit - 1.0 for one in found))

    def _seconds(self, counts: FloatArray) -> float:
        _, quantile = _limit(self.gate)
        if not counts.sum() > 0:
            return math.nan
        if quantile:
            return runtime_quantile(counts, _BOUNDS, quantile)
        return float((counts * _MIDDLE).sum() / counts.sum())

    def _beyond(self, counts: FloatArray, beyond: float) -> FloatArray:
        """Shares by bucket of a version whose runtimes spread as these do, and whose value is beyond the limit."""
        limit, _ = _limit(self.gate)
        by = round(math.log(limit * (1.0 + beyond) / self._seconds(counts), RATIO))
        moved = np.zeros(BUCKETS)
        places = np.clip(np.arange(BUCKETS) + by, 0, BUCKETS - 1)
        np.add.at(moved, places, counts / counts.sum())
        return moved


def _limit(gate: Gate) -> tuple[float, float]:
    assert gate.limit is not None  # noqa: S101 - for the type checker: the gate has one
    assert gate.limit.seconds is not None  # noqa: S101 - as above
    return gate.limit.seconds, gate.limit.quantile


def _added(rows: Sequence[RuntimeRow]) -> tuple[FloatArray, FloatArray]:
    """Batches of both arms by runtime."""
    table = np.array([(test, control) for _, test, control in rows], dtype=np.float64).reshape(-1, 2, BUCKETS)
    total = table.sum(axis=0)
    return total[0], total[1]
