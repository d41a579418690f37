"""A gate on a distribution over geometric buckets: runtimes of batches, or absolute errors of labelled rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evaluator.statistics import runtime
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.histograms import RuntimeWindows, at_least, geometric_ratio, quantile_bucket
from evaluator.statistics.intervals import RuntimeEstimate, runtime_quantile
from evaluator.statistics.power import needed, remaining, runtime_growth, tail_growth
from evaluator.statistics.runtime import RuntimeTest
from evaluator.window.arms import RuntimeRow
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate
from services.common.telemetry import catalog

_HALF: Final = 0.5
"""The test version's part where control has as much traffic as it has."""
RATIO: Final = geometric_ratio(catalog.INFERENCE_DURATION.bounds)
"""Ratio of neighbouring bounds of crossfade.inference.duration and of crossfade.feedback.error."""


@dataclass(frozen=True, slots=True, eq=False)
class DistributionGate:
    """Evidence of a gate on runtimes or on absolute errors.

    Of runtimes the rows are batches, within one batch size, and what they are compared with is control's. Of errors the
    rows are labelled rows, all of one kind, and what they are compared with is stable's.

    Attributes:
        gate: what it watches.
        harm: evidence that the test version is slower, or further off.
        safe: evidence that it is not, since the step's start.
        tail: of runtimes, evidence that it has hardly more batches beyond control's p99, likewise; None: nobody asks.
        seen: both arms in all judged windows, for people's eyes.
        step_n: rows of the test arm that `safe` has compared.
        needs: as in RateGate, in rows: to see a harm of the median, and one of the tail.
        median_needs: the first of the two, which is enough where the tail is shown to be no heavier.
        bounds: of the buckets, in the metric's unit.
        step_control: rows that `step_n` was compared with.
    """

    gate: Gate
    harm: RuntimeTest
    safe: RuntimeTest
    seen: RuntimeEstimate
    step_n: int = 0
    needs: float | None = None
    median_needs: float | None = None
    tail: RuntimeTest | None = None
    bounds: tuple[float, ...] = catalog.INFERENCE_DURATION.bounds
    step_control: int = 0

    @property
    def unmeasured(self) -> bool:
        """Whether half of the errors that it compares with lie outside the bounds, where none are told apart."""
        if self.gate.metric is not MetricKind.ABSOLUTE_ERROR:
            return False
        counts = self.harm.past.counts.sum(axis=0)
        return bool(2.0 * max(counts[0], counts[-1]) > counts.sum())

    @property
    def test_n(self) -> int:
        """Rows of the test arm that were judged."""
        return int(self.seen.test.counts.sum())

    @property
    def control_n(self) -> int:
        """Rows that they were compared with."""
        return int(self.seen.control.counts.sum())

    def judge(self, rows: Sequence[RuntimeRow]) -> "DistributionGate":
        """The gate after one look, whose rows show both harm and safety."""
        windows = RuntimeWindows.of(len(self.bounds) + 1, rows)
        harm, *safe = runtime.update_each((self.harm, *_safe_tests(self)), windows)
        return _shown(_harmed(self, harm, windows), safe, windows)

    def judge_harm(self, rows: Sequence[RuntimeRow]) -> "DistributionGate":
        """The gate after rows that harm is judged by."""
        windows = RuntimeWindows.of(len(self.bounds) + 1, rows)
        return _harmed(self, runtime.update(self.harm, windows), windows)

    def judge_safe(self, rows: Sequence[RuntimeRow]) -> "DistributionGate":
        """The gate after rows that non-inferiority is judged by."""
        windows = RuntimeWindows.of(len(self.bounds) + 1, rows)
        return _shown(self, runtime.update_each(_safe_tests(self), windows), windows)

    def learn(self, rows: Sequence[RuntimeRow]) -> "DistributionGate":
        """The gate with what it is compared with added to the past, and nothing judged."""
        past = [(batch, control) for batch, _, control in rows]
        harm, *safe = runtime.seed_each((self.harm, *_safe_tests(self)), past)
        return _with_safe(replace(self, harm=harm), safe, (self.step_n, self.step_control))

    def restart(self) -> "DistributionGate":
        """The gate with fresh evidence of non-inferiority."""
        return _with_safe(self, [runtime.restart(test) for test in _safe_tests(self)], (0, 0))

    def freeze(self, alpha: float, power: float, share: float) -> "DistributionGate":
        """The gate with `needs`, once the past says what it takes; it never changes afterwards."""
        del share
        if self.needs is not None or not self._knows(self.harm):
            return self
        if self.gate.better is not None:
            return replace(self, needs=math.inf, median_needs=math.inf)
        needs = self._needed(alpha, power, _HALF)
        return replace(self, needs=max(needs), median_needs=needs[0])

    def renew(self, alpha: float, power: float) -> "DistributionGate":
        """The gate with more `needs`, where this step asks for more than was fixed at the start.

        What is compared with may vary otherwise by now, and a step with most of the traffic leaves control less than
        the test version has.
        """
        if self.needs is None or self.median_needs is None or self.gate.better is not None or not self.step_control:
            return self
        share = self.step_n / (self.step_n + self.step_control)
        needs = self._needed(alpha, power, max(share, _HALF))
        return replace(self, needs=max(self.needs, *needs), median_needs=max(self.median_needs, needs[0]))

    def _needed(self, alpha: float, power: float, share: float) -> list[float]:
        """Rows with which a harm of the median shows and, if somebody asks for it, of the tail; infinity: none do.

        Args:
            alpha, power: of the test.
            share: the test arm's part of both arms.
        """
        growths = [runtime_growth(self.harm, self.gate.safe.buckets, share)]
        if self.tail is not None:
            growths.append(tail_growth(self.harm, self.gate.safe.buckets, self.gate.safe.offset, share))
        found = [needed(self.harm.process, growth, alpha, power) for growth in growths]
        return [math.inf if one is None else float(one) for one in found]

    def remaining(self, alpha: float, share: float) -> int | None:
        """Forecast: rows of the test arm until PASS if the versions are alike; None: unknown."""
        del share
        if self.gate.better is not None or not self._knows(self.safe):
            return None
        left = [
            remaining(test.process, runtime_growth(test, 0), alpha)
            for test in (self.safe, self.tail)
            if test is not None
        ]
        known = [one for one in left if one is not None]
        return max(known) if len(known) == len(left) else None

    @property
    def unsafe(self) -> bool:
        """Whether the version stands beyond its safe margin by all that was judged, as in `RateGate`."""
        return self.gate.better is None and any(map(self._is_beyond, _safe_tests(self)))

    def _is_beyond(self, asked: RuntimeTest) -> bool:
        """Whether more rows are beyond what a test of "no worse" asks for, the other's sizes weighted as test's."""
        test, control, weights = self._compared()
        if not len(test):
            return False
        cut = runtime.cut_of(asked, control)
        last = test.shape[-1] - 1
        slow = at_least(test, np.minimum(cut + asked.margin, last)).sum()
        usual = (at_least(control, cut) * weights).sum()
        return bool(slow > usual + asked.offset * test.sum())

    def shows_tail(self, bar: float) -> bool:
        """Whether the tail is shown to be no heavier, or nobody asks."""
        return self.tail is None or self.tail.log_e >= bar

    def past_median(self) -> float:
        """The median so far of what it is compared with; NaN: nothing is known."""
        return runtime_quantile(self.harm.past.counts.sum(axis=0), self.bounds, 0.5)

    @staticmethod
    def _knows(test: RuntimeTest) -> bool:
        return bool(test.past.counts.sum() >= runtime.ENOUGH_PAST)

    def quantiles(self, quantile: float) -> tuple[float, float]:
        """A quantile of both arms, the other's batch sizes weighted as test's; NaN where an arm has none."""
        test, control, weights = self._compared()
        return (
            runtime_quantile(test.sum(axis=0), self.bounds, quantile),
            runtime_quantile((control * weights[:, np.newaxis]).sum(axis=0), self.bounds, quantile),
        )

    def beyond(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Batches of sizes that both arms have, and those beyond control's p99 of their size: of test, of control."""
        test, control, _ = self._compared()
        cut = quantile_bucket(control, runtime.TAIL) + 1
        arms = ((int(one.sum()), int(at_least(one, cut).sum())) for one in (test, control))
        return next(arms), next(arms)

    def _compared(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Batches of sizes that both arms have, of test and of control, and test's number over control's per size."""
        test, control = self.seen.test.counts, self.seen.control.counts
        n_test, n_control = test.sum(axis=-1), control.sum(axis=-1)
        both = (n_test > 0) & (n_control > 0)
        return test[both], control[both], n_test[both] / n_control[both]


def distribution_gate(
    gate: Gate, alpha: float, bounds: tuple[float, ...], agreeing: int = 3, promote: float = 0.05
) -> DistributionGate:
    """A gate on a distribution without evidence.

    Args:
        gate: what it watches.
        alpha: the probability with which it may roll back a version as good as stable.
        bounds: of the buckets; geometric, by `RATIO`.
        agreeing: looks that must agree on a winner.
        promote: the probability with which it passes a version at its margin.
    """
    buckets, better, margin = len(bounds) + 1, gate.better, gate.safe
    harm = runtime.runtime_harm_test(buckets, RATIO, alpha, gate.harm.buckets)
    safe = runtime.runtime_non_inferiority_test(buckets, RATIO, margin.buckets)
    if better is not None:
        safe = runtime.runtime_superiority_test(buckets, RATIO, better.buckets, promote, agreeing_looks=agreeing)
    tail = runtime.runtime_tail_test(buckets, RATIO, margin.buckets, margin.offset) if margin.offset else None
    # As long as they judge the same they have one past.
    safe, tail = replace(safe, past=harm.past), tail and replace(tail, past=harm.past)
    return DistributionGate(gate, harm, safe, RuntimeEstimate.empty(buckets, RATIO), tail=tail, bounds=bounds)


def _safe_tests(gate: DistributionGate) -> tuple[RuntimeTest, ...]:
    return (gate.safe,) if gate.tail is None else (gate.safe, gate.tail)


def _harmed(gate: DistributionGate, harm: RuntimeTest, windows: RuntimeWindows) -> DistributionGate:
    return replace(gate, harm=harm, seen=gate.seen.plus(windows))


def _shown(gate: DistributionGate, tests: Sequence[RuntimeTest], windows: RuntimeWindows) -> DistributionGate:
    compared = int(windows.n_test[windows.n_control > 0].sum())
    control = int(windows.n_control[windows.n_test > 0].sum())
    return _with_safe(gate, tests, (gate.step_n + compared, gate.step_control + control))


def _with_safe(gate: DistributionGate, tests: Sequence[RuntimeTest], step: tuple[int, int]) -> DistributionGate:
    safe, *tail = tests
    return replace(gate, safe=safe, tail=tail[0] if tail else None, step_n=step[0], step_control=step[1])
