"""What people are shown: estimates with intervals that hold at every look.

Both estimates are weighted means of differences within windows, so that a rise which both arms share during a
ramp does not pass for a difference. A window k with n_c and n_s observations has the weight (Mantel, Haenszel)
W_k = n_c*n_s/(n_c+n_s), which its sizes fix before their outcomes; sum(W_k (difference_k - true difference_k))
is a martingale with variance V. The interval is the normal mixture's

    sum(W_k difference_k)/sum(W_k) +- sqrt((V + rho) ln((V + rho)/(rho alpha^2)))/sum(W_k),

an asymptotic confidence sequence for the weighted mean of the true differences: of limits looked at all the
time, the probability of ever missing is alpha in the limit of many observations (Waudby-Smith, Arbour, Sinha,
Kennedy, Ramdas, arXiv:2103.06476, with its extension to means that vary over time). It is for eyes only:
decisions are made by the e-processes, whose guarantee needs no limit.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from evaluator.statistics.bets import smoothed
from evaluator.statistics.counts import FloatArray, frozen
from evaluator.statistics.histograms import Past, RuntimeWindows
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateWindows

# An interval is tightest at V of about 9 rho for alpha = .05: some 25 failures, or 15 batches that spread
# over 35 %.
_RATE_RHO: Final = 3.0
_RUNTIME_RHO: Final = 30.0
# Observations of the usual rate that a window's own rate is mixed with.
_PRIOR: Final = 10.0
DEFAULT_ALPHA: Final = 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its limits; all NaN where there is nothing to estimate from."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RateEstimate:
    """Two rates over all windows so far, and the difference test minus stable within windows.

    n_test, x_test, n_stable, x_stable: totals. weight, difference, variance: sum W, sum W*difference, V.
    """

    n_test: float = 0.0
    x_test: float = 0.0
    n_stable: float = 0.0
    x_stable: float = 0.0
    weight: float = 0.0
    difference: float = 0.0
    variance: float = 0.0

    @property
    def test_rate(self) -> float:
        """The test arm's rate over all of its observations; NaN without any."""
        return self.x_test / self.n_test if self.n_test else math.nan

    @property
    def stable_rate(self) -> float:
        """The stable arm's rate over all of its observations; NaN without any."""
        return self.x_stable / self.n_stable if self.n_stable else math.nan

    def plus(self, windows: RateWindows, effect: float = 1.0) -> Self:
        """Return the estimate with one look's windows, of shape (windows), taken in; effect: as in `rates.update`."""
        n_c, x_c, n_s, x_s = windows.n_test, windows.x_test, windows.n_stable, windows.x_stable
        n_test, x_test, n_stable, x_stable = windows.totals.tolist()
        n_test, x_test = self.n_test + n_test, self.x_test + x_test
        n_stable, x_stable = self.n_stable + n_stable, self.x_stable + x_stable
        both = np.maximum(n_c + n_s, 1.0)
        of_test, of_stable = n_c / both, n_s / both
        weight = self.weight + float((n_c * n_s / both).sum())
        difference = self.difference + float((x_c * of_stable - x_s * of_test).sum())
        # The window's own rate, since an incident makes its outcomes vary more than the whole stretch's do.
        usual = smoothed(n_stable, x_stable)
        stable_rate = (x_s + _PRIOR * usual) / (n_s + _PRIOR)
        test_rate = np.minimum(np.maximum(stable_rate + difference / max(weight, 1.0), 0.0), 1.0)
        spread = n_s * test_rate * (1.0 - test_rate) + n_c * stable_rate * (1.0 - stable_rate)
        variance = self.variance + effect * float((of_test * n_s / both * spread).sum())
        return type(self)(n_test, x_test, n_stable, x_stable, weight, difference, variance)

    def interval(self, alpha: float = DEFAULT_ALPHA) -> Interval:
        """Return the difference test minus stable with limits in [-1, 1]."""
        return _interval(self.difference, self.weight, self.variance, rho=_RATE_RHO, alpha=alpha, furthest=1.0)

    def beyond(self, limit: float, alpha: float = DEFAULT_ALPHA) -> Interval:
        """Return the test arm's rate minus a limit, with limits in [-1, 1].

        The variance at the mean rate is no less than the windows' own, which differ in their rates (concavity).
        """
        rate = smoothed(self.n_test, self.x_test)
        excess = self.x_test - self.n_test * limit
        return _interval(
            excess, self.n_test, self.n_test * rate * (1.0 - rate), rho=_RATE_RHO, alpha=alpha, furthest=1.0
        )


@dataclass(frozen=True, slots=True, eq=False)
class RuntimeEstimate:
    """The test arm's runtime over the control's, within windows and batch sizes, in buckets.

    ratio: of the geometric bounds. test, control: totals per batch size. weight, difference, variance: as in
    `RateEstimate`, of the bucket's number, that is of the runtime's logarithm.
    """

    ratio: float
    test: Past
    control: Past
    weight: float = 0.0
    difference: float = 0.0
    variance: float = 0.0

    @classmethod
    def empty(cls, buckets: int, ratio: float) -> Self:
        """Return the estimate before the first window."""
        if not (math.isfinite(ratio) and ratio > 1.0):
            raise ValueError(f"ratio must be greater than 1, got {ratio}")
        return cls(ratio, Past.empty(buckets), Past.empty(buckets))

    def plus(self, windows: RuntimeWindows) -> Self:
        """Return the estimate with one look's windows taken in."""
        test = self.test.knowing(windows.batches).plus(windows.batches, windows.test)
        control = self.control.knowing(windows.batches).plus(windows.batches, windows.control)
        rows = test.rows(windows.batches)
        n_c, n_s = windows.n_test, windows.n_control
        both = np.maximum(n_c + n_s, 1.0)
        numbers = np.arange(windows.test.shape[1], dtype=np.float64)
        sum_c, sum_s = (windows.test * numbers).sum(axis=-1), (windows.control * numbers).sum(axis=-1)
        of_test, of_control = _spread(np.array((test.counts, control.counts)), numbers)
        spread = n_s * of_test[rows] + n_c * of_control[rows]
        return replace(
            self,
            test=test,
            control=control,
            weight=self.weight + float((n_c * n_s / both).sum()),
            difference=self.difference + float((sum_c * (n_s / both) - sum_s * (n_c / both)).sum()),
            variance=self.variance + float((n_c / both * n_s / both * spread).sum()),
        )

    def interval(self, alpha: float = DEFAULT_ALPHA) -> Interval:
        """Return the ratio of the geometric mean runtimes, test over control; 1.05 is 5 % slower."""
        furthest = float(self.test.counts.shape[1])
        limits = _interval(
            self.difference, self.weight, self.variance, rho=_RUNTIME_RHO, alpha=alpha, furthest=furthest
        )
        return Interval(*(self.ratio**buckets for buckets in (limits.estimate, limits.low, limits.high)))


def mean_interval(counts: FloatArray, values: FloatArray, alpha: float = DEFAULT_ALPHA) -> Interval:
    """Return the mean of what was counted, with limits; counts, values: (buckets), values of order 1."""
    n = float(counts.sum())
    if not n > 0.0:
        return Interval(math.nan, math.nan, math.nan)
    mean = float((counts * values).sum() / n)
    variance = float((counts * (values - mean) ** 2).sum())
    furthest = max(abs(float(values.max()) - mean), abs(float(values.min()) - mean))
    around = _interval(0.0, n, variance, rho=_RATE_RHO, alpha=alpha, furthest=furthest)
    return Interval(mean, mean + around.low, mean + around.high)


def runtime_quantile(counts: FloatArray, bounds: tuple[float, ...], quantile: float) -> float:
    """Return a quantile of one histogram in the unit of its bounds; NaN without observations.

    counts: (len(bounds) + 1). Interpolated geometrically; in an open bucket it is that bucket's bound.
    """
    if len(counts) != len(bounds) + 1:
        raise ValueError(f"{len(bounds)} bounds make {len(bounds) + 1} buckets, got {len(counts)}")
    cumulative = counts.cumsum()
    if not cumulative[-1] > 0:
        return math.nan
    target = quantile * float(cumulative[-1])
    bucket = int((cumulative >= target).argmax())
    inside = float(counts[bucket])
    # Where the quantile lies, in buckets from the lower edge of bucket 0, linear within a bucket.
    position = bucket + ((target - (float(cumulative[bucket]) - inside)) / max(inside, 1.0) if inside > 0 else 0.0)
    edge = min(max(position - 1.0, 0.0), len(bounds) - 1.0)
    lower = min(int(edge), len(bounds) - 2)
    part = edge - lower
    return float(bounds[lower] ** (1.0 - part) * bounds[lower + 1] ** part)


def _interval(
    difference: float, weight: float, variance: float, *, rho: float, alpha: float, furthest: float
) -> Interval:
    threshold = log_threshold(alpha)
    if not weight > 0.0:
        return Interval(math.nan, math.nan, math.nan)
    mixed = variance + rho
    radius = math.sqrt(mixed * (math.log(mixed / rho) + 2.0 * threshold)) / weight
    estimate = difference / weight
    return Interval(estimate, max(estimate - radius, -furthest), min(estimate + radius, furthest))


def _spread(counts: FloatArray, numbers: FloatArray) -> FloatArray:
    """Return the variance of the buckets' numbers per row, with 1/12 for the width of a bucket."""
    shares = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1.0)
    mean = (shares * numbers).sum(axis=-1, keepdims=True)
    variance: FloatArray = (shares * (numbers - mean) ** 2).sum(axis=-1) + 1.0 / 12.0
    return frozen(variance)
