"""How bad a version's figures were at their worst while it stayed as it is.

Failures, wrong answers and runtimes swing by day, as the requests do. Held against the mean of its first day, a version
would stand out at each day's peak. So a figure may be as bad as it was in three stretches of its past. Not as in one:
an hour of an outage would be what is allowed from then on, and touches two stretches at most.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from evaluator.monitor.past import ENOUGH, MIDDLE, WATCHED_SIZES
from evaluator.statistics.counts import FloatArray
from evaluator.window.arms import RuntimeRow
from evaluator.window.labels import ERROR_BUCKETS, Labels, RateRow
from services.common.policy.metrics import LABEL_METRICS, MetricKind

_KEPT: Final = 3
_PLACES: Final = np.arange(ERROR_BUCKETS, dtype=np.float64)


class Moments(NamedTuple):
    """Of what was counted: how many there are, the sum of their figures, and of these squared."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0


_NOTHING: Final = Moments()


@dataclass(frozen=True, slots=True)
class Peak:
    """One figure, stretch by stretch.

    Attributes:
        since: when the present stretch began; 0: there is none.
        moments: of the present stretch.
        stretches: how many were before it.
        highest: the greatest means of these with their standard errors, the greatest first.
    """

    since: float = 0.0
    moments: Moments = _NOTHING
    stretches: int = 0
    highest: tuple[tuple[float, float], ...] = ()

    def plus(self, more: Moments, now: float, length: float, enough: int, effect: float = 1.0) -> "Peak":
        """With what a look counted, which was read `now`.

        Args:
            more: what it counted.
            now: on the scale of `since`.
            length: seconds of a stretch, which lasts until it has `enough`, too.
            enough: how many.
            effect: of rows of one request that are alike: they say as much as so many times fewer.
        """
        since = self.since or now
        n, total, squares = (one + other for one, other in zip(self.moments, more, strict=True))
        if now - since < length or n < enough * effect:
            return Peak(since, Moments(int(n), total, squares), self.stretches, self.highest)
        mean = total / n
        error = math.sqrt(max(squares / n - mean * mean, 0.0) * effect / n)
        highest = sorted((*self.highest, (mean, error)), reverse=True)[:_KEPT]
        return Peak(now, stretches=self.stretches + 1, highest=tuple(highest))

    @property
    def usual(self) -> float:
        """What the figure was at in three stretches, beyond what is so by chance; 0: there were fewer."""
        if len(self.highest) < _KEPT:
            return 0.0
        mean, error = self.highest[-1]
        # Where the third highest of stretches lies that are all alike, in standard errors (Blom, Statistical
        # Estimates and Transformed Beta-Variables, 1958).
        chance = float(stats.norm.ppf(1.0 - (_KEPT - 0.375) / (self.stretches + 0.25)))
        return max(mean - max(chance, 0.0) * error, 0.0)


Key = tuple[MetricKind, int]
"""A metric; of runtimes those of one batch size, and else 0."""


def peaks_after(
    peaks: Mapping[Key, Peak], found: Mapping[Key, Moments], now: float, length: float, effect: float
) -> dict[Key, Peak]:
    """The peaks after a look.

    Args:
        peaks: before it.
        found: what it counted.
        now: as of `Peak.plus`, like the rest.
        length: of a stretch.
        effect: of labelled rows.
    """
    after = dict(peaks)
    for key, more in found.items():
        alike = effect if key[0] in LABEL_METRICS else 1.0
        after[key] = after.get(key, Peak()).plus(more, now, length, ENOUGH[key[0]], alike)
    return after


def moments_of(
    metrics: Iterable[MetricKind], errors: Sequence[RateRow], batches: Sequence[RuntimeRow], labels: Sequence[Labels]
) -> dict[Key, Moments]:
    """What a look counted of these metrics; of absolute errors in buckets of their histogram."""
    found: dict[Key, Moments] = {}
    for metric in metrics:
        match metric:
            case MetricKind.RUNTIME:
                for size in {row[0] for row in batches} & WATCHED_SIZES:
                    found[metric, size] = _of_histogram([row[1] for row in batches if row[0] == size], MIDDLE)
            case MetricKind.ERRORS:
                found[metric, 0] = _of_rates([(row[0], row[1]) for row in errors])
            case MetricKind.ABSOLUTE_ERROR:
                found[metric, 0] = _of_histogram([one.errors for one in labels if one.errors], _PLACES)
            case _:
                found[metric, 0] = _of_rates([one.bad(metric, 0) for one in labels])
    return {key: moments for key, moments in found.items() if moments.n}


def _of_rates(rows: Sequence[tuple[int, int]]) -> Moments:
    bad = float(sum(x for _, x in rows))
    return Moments(sum(n for n, _ in rows), bad, bad)


def _of_histogram(rows: Sequence[Sequence[int]], figures: FloatArray) -> Moments:
    counts = np.array(rows, dtype=np.float64).reshape(-1, len(figures)).sum(axis=0)
    return Moments(int(counts.sum()), float(counts @ figures), float(counts @ (figures * figures)))
