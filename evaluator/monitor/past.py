"""What a stable version was like in its first days, and what that allows from then on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy import stats

from evaluator.arms import BUCKETS, RuntimeRow, added
from evaluator.distributions import RATIO
from evaluator.labels import VALUE_BUCKETS, Labels, RateRow
from evaluator.statistics.confusion import f1_from_unlike, unlike_from_f1
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
"""Attempts, batches or labelled rows that a past must have before anything is held against it."""
ENOUGH_ANSWERS: Final = 1_000
ENOUGH_VALUES: Final = 1_000
"""Numbers that callers reported."""
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
MIDDLE: Final = np.sqrt(np.maximum(SHORTEST, BOUNDS[0] / 2) * LONGEST)


@dataclass(frozen=True, slots=True)
class Known:
    """One figure of the past.

    Attributes:
        n: attempts, batches or labelled rows that it rests on.
        value: a rate of what is bad, or mean seconds.
        limit: what is allowed from then on, in the same unit.
        cut: for absolute errors, the last bucket of crossfade.feedback.error that is not bad.
    """

    n: int
    value: float
    limit: float
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """A version's counts while its past was learnt.

    Attributes:
        attempts: n and those that failed.
        batches: by runtime.
        labels: of slices whose labels were complete.
        answers: predicted rows by class.
        together: over requests of several predictions, n (n - 1) for their n rows.
        values: numbers that callers reported, by the buckets of crossfade.feedback.value.
    """

    attempts: tuple[int, int] = (0, 0)
    batches: tuple[int, ...] = (0,) * BUCKETS
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
    ) -> "Past":
        """The past with a look's counts."""
        n, x = self.attempts
        slower, known = self.batches, self.labels
        for row in errors:
            n, x = n + row[0], x + row[1]
        for _, of_version, _ in batches:
            slower = added(slower, of_version)
        for more in labels:
            known = known.plus(more)
        classes = self.answers.keys() | answers.keys()
        summed = {name: self.answers.get(name, 0) + answers.get(name, 0) for name in classes}
        reported = added(self.values, tuple(values)) if values else self.values
        answered = dict(sorted(summed.items()))
        return Past((n, x), slower, known, answered, self.together + together, reported)

    def counted(self, metric: MetricKind, effect: float = 1.0) -> int:
        """How many attempts, batches or labelled rows a metric's past has, labels as many as `known` takes them for."""
        n = sum(self.batches) if metric is MetricKind.RUNTIME else self._bad(metric)[0]
        return int(n / effect) if metric in LABEL_METRICS else n

    def known(self, metric: MetricKind, effect: float = 1.0) -> Known | None:
        """A figure, and what it allows; None: too little was counted, or the metric is not watched so.

        Args:
            metric: whose.
            effect: of labelled rows of one request that are alike: they say as much as so many times fewer.
        """
        if metric not in ENOUGH or self.counted(metric, effect) < ENOUGH[metric]:
            return None
        if metric is MetricKind.RUNTIME:
            return self._known_runtime()
        if metric is MetricKind.ABSOLUTE_ERROR:
            return self._known_errors(effect)
        n, x = self._bad(metric)
        # The rate itself is known to within its own error only: what is allowed begins at the upper end of that.
        highest = _highest(n, x, effect if metric in LABEL_METRICS else 1.0)
        margin = DEFAULT_SAFE[metric]
        if metric is MetricKind.F1:
            limit = unlike_from_f1(max(f1_from_unlike(highest) - margin.offset, 0.0))
        else:
            limit = margin.factor * highest + margin.offset
        return Known(n, x / n, limit) if limit < _HIGHEST_RATE else None

    def _bad(self, metric: MetricKind) -> tuple[int, int]:
        return self.attempts if metric is MetricKind.ERRORS else self.labels.bad(metric, 0)

    def _known_errors(self, effect: float) -> Known | None:
        """That no more than half of the rows are off by more than the median, and two buckets beyond it."""
        counts = np.array(self.labels.errors)
        n, sofar = int(counts.sum()), counts.cumsum()
        median = int(np.argmax(2 * sofar >= n))
        cut = median + DEFAULT_SAFE[MetricKind.ABSOLUTE_ERROR].buckets
        if cut >= len(counts) - 1 or not median:
            return None
        beyond = n - int(sofar[median])
        return Known(n, beyond / n, _highest(n, beyond, effect), cut)

    def _known_runtime(self) -> Known | None:
        counts = np.array(self.batches)
        n = int(counts.sum())
        mean = float((counts * MIDDLE).sum() / n)
        variance = float((counts * (MIDDLE - mean) ** 2).sum() / n)
        # As with rates: a few slow batches decide a mean, and there may have been too few of them in the past.
        highest = mean + float(stats.norm.ppf(_CONFIDENCE)) * math.sqrt(variance / n)
        limit = highest * RATIO**SLOWER_BUCKETS
        return Known(n, mean, limit) if limit < _LONGEST_MEAN else None


def _highest(n: int, x: int, effect: float) -> float:
    """The upper end of the rate's interval."""
    return float(stats.beta.ppf(_CONFIDENCE, x / effect + 1.0, (n - x) / effect)) if x < n else 1.0
