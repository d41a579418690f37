"""What a stable version was like in its first days, and what that allows from then on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy import stats

from evaluator.gates.distributions import RATIO
from evaluator.statistics.confusion import f1_from_unlike, unlike_from_f1
from evaluator.window.arms import BUCKETS, RuntimeRow, added
from evaluator.window.labels import VALUE_BUCKETS, Labels, RateRow
from services.common.policy.metrics import LABEL_METRICS, MetricKind
from services.common.policy.records import DEFAULT_SAFE
from services.common.telemetry import catalog

ENOUGH: Final = {
    MetricKind.ERRORS: 1_000,
    MetricKind.RUNTIME: 1_000,
    MetricKind.ACCURACY: 300,
    MetricKind.F1: 300,
    MetricKind.ABSOLUTE_ERROR: 300,
}
"""Attempts, batches of one size or labelled rows that a past must have before anything is held against it."""
SIZES: Final = 16
"""Batch sizes that are watched, each by itself: 1, 2, 4 and on to 32,768 rows."""
SLOWER_BUCKETS: Final = 5
"""What is allowed of the mean runtime beyond the past's: 54 %. It depends on load, and a day's load varies."""
_CONFIDENCE: Final = 0.995
_HIGHEST_RATE: Final = 0.999
_LONGEST_MEAN: Final = 9.0

BOUNDS: Final = catalog.INFERENCE_DURATION.bounds
SHORTEST: Final = np.array((0.0, *BOUNDS))
"""Seconds that a batch of each bucket took at least."""
LONGEST: Final = np.array((*BOUNDS, BOUNDS[-1]))
"""Seconds that a batch of each bucket took at most; what is slower than the last bound counts as that."""
_NO_BATCHES: Final = (0,) * BUCKETS
WATCHED_SIZES: Final = frozenset(1 << power for power in range(SIZES))
MIDDLE: Final = np.sqrt(np.maximum(SHORTEST, BOUNDS[0] / 2) * LONGEST)


@dataclass(frozen=True, slots=True)
class Known:
    """One figure of the past.

    Attributes:
        n: attempts, batches or labelled rows that it rests on.
        value: a rate of what is bad, or mean seconds.
        limit: what is allowed from then on, in the same unit.
        cut: for absolute errors, the last bucket of crossfade.feedback.error that is not bad.
        peak: what it was at its worst, where that is beyond chance and the limit begins at it; 0: it did not swing so.
    """

    n: int
    value: float
    limit: float
    cut: int = 0
    peak: float = 0.0


@dataclass(frozen=True, slots=True)
class Past:
    """A version's counts while its past was learnt.

    Attributes:
        attempts: n and those that failed.
        batches: by size and runtime.
        begun: when the first batches of a size were read, seconds since 1970-01-01 UTC.
        labels: of slices whose labels were complete.
        answers: predicted rows by class.
        together: over requests of several predictions, n (n - 1) for their n rows.
        values: numbers that callers reported, by the buckets of crossfade.feedback.value.
    """

    attempts: tuple[int, int] = (0, 0)
    batches: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    begun: Mapping[int, float] = field(default_factory=dict)
    labels: Labels = field(default_factory=Labels)
    answers: Mapping[str, int] = field(default_factory=dict)
    together: int = 0
    values: tuple[int, ...] = (0,) * VALUE_BUCKETS

    def plus(
        self,
        errors: Sequence[RateRow],
        batches: Sequence[RuntimeRow],
        labels: Sequence[Labels],
        answers: Mapping[str, int],
        values: Sequence[int],
        together: int,
        time: float,
    ) -> "Past":
        """The past with a look's counts, which were read at a time."""
        n, x = self.attempts
        slower, begun, known = dict(self.batches), dict(self.begun), self.labels
        for row in errors:
            n, x = n + row[0], x + row[1]
        for size, of_version, _ in batches:
            if any(of_version) and size in WATCHED_SIZES:
                slower[size] = added(slower.get(size, _NO_BATCHES), of_version)
                begun.setdefault(size, time)
        for more in labels:
            known = known.plus(more)
        classes = self.answers.keys() | answers.keys()
        summed = {name: self.answers.get(name, 0) + answers.get(name, 0) for name in classes}
        reported = added(self.values, tuple(values)) if values else self.values
        answered = dict(sorted(summed.items()))
        return Past((n, x), slower, begun, known, answered, self.together + together, reported)

    def counted(self, metric: MetricKind, effect: float = 1.0) -> int:
        """How many attempts or labelled rows a metric's past has, labels as many as `known` takes them for.

        Of runtimes it is the batches of the size that has most.
        """
        if metric is MetricKind.RUNTIME:
            return max(map(sum, self.batches.values()), default=0)
        n, _ = self._bad(metric)
        return int(n / effect) if metric in LABEL_METRICS else n

    def known(self, metric: MetricKind, effect: float = 1.0, peak: float = 0.0) -> Known | None:
        """A figure, and what it allows; None: too little was counted, or the metric is not watched so (runtimes).

        Args:
            metric: whose.
            effect: of labelled rows of one request that are alike: they say as much as so many times fewer.
            peak: what it was at its worst; of absolute errors the mean bucket.
        """
        unlike = metric not in ENOUGH or metric is MetricKind.RUNTIME
        if unlike or self.counted(metric, effect) < ENOUGH[metric]:
            return None
        if metric is MetricKind.ABSOLUTE_ERROR:
            return self._known_errors(effect, peak)
        n, x = self._bad(metric)
        # The rate itself is known to within its own error only: what is allowed begins at the upper end of that.
        highest, peak = _begins(_highest(n, x, effect if metric in LABEL_METRICS else 1.0), peak)
        margin = DEFAULT_SAFE[metric]
        if metric is MetricKind.F1:
            limit = unlike_from_f1(max(f1_from_unlike(highest) - margin.offset, 0.0))
        else:
            limit = margin.factor * highest + margin.offset
        return Known(n, x / n, limit, peak=peak) if limit < _HIGHEST_RATE else None

    def _bad(self, metric: MetricKind) -> tuple[int, int]:
        return self.attempts if metric is MetricKind.ERRORS else self.labels.bad(metric, 0)

    def _known_errors(self, effect: float, peak: float) -> Known | None:
        """That no more than half of the rows are off by more than the median, and two buckets beyond it.

        Buckets are geometric: errors that are larger by day by a factor lie so many buckets further on.
        """
        counts = np.array(self.labels.errors)
        n, sofar = int(counts.sum()), counts.cumsum()
        median = int(np.argmax(2 * sofar >= n))
        mean = float((counts * np.arange(len(counts))).sum()) / n
        further = math.ceil(max(peak - mean, 0.0))
        cut = median + further + DEFAULT_SAFE[MetricKind.ABSOLUTE_ERROR].buckets
        if cut >= len(counts) - 1 or not median:
            return None
        beyond = n - int(sofar[median])
        return Known(n, beyond / n, _highest(n, beyond, effect), cut)

    def known_runtime(self, size: int, peak: float = 0.0) -> Known | None:
        """The mean runtime of batches of a size, and what it allows; None, peak: as of `known`."""
        counts = np.array(self.batches.get(size, _NO_BATCHES))
        n = int(counts.sum())
        if n < ENOUGH[MetricKind.RUNTIME]:
            return None
        mean = float((counts * MIDDLE).sum() / n)
        variance = float((counts * (MIDDLE - mean) ** 2).sum() / n)
        # As with rates: a few slow batches decide a mean, and there may have been too few of them in the past.
        highest, peak = _begins(mean + float(stats.norm.ppf(_CONFIDENCE)) * math.sqrt(variance / n), peak)
        limit = highest * RATIO**SLOWER_BUCKETS
        return Known(n, mean, limit, peak=peak) if limit < _LONGEST_MEAN else None


def _highest(n: int, x: int, effect: float) -> float:
    """The upper end of the rate's interval."""
    return float(stats.beta.ppf(_CONFIDENCE, x / effect + 1.0, (n - x) / effect)) if x < n else 1.0


def _begins(highest: float, peak: float) -> tuple[float, float]:
    """What the limit begins at, and the peak if that is it."""
    return (peak, peak) if peak > highest else (highest, 0.0)
