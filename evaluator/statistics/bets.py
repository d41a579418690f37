"""Bets on two rates: the e-value of one window against a line between the arms' rates.

The test arm's rate is theta_c, the stable arm's theta_s; x of n is binomial in each, given n. The null is one
side of the line theta_c = a + b*theta_s. A bet names a point (tc, ts) on the other side, chosen from the past
alone, and projects it onto the line at (c, s), the point that minimises w*KL(tc||c) + (1-w)*KL(ts||s) with w
= n_c/(n_c+n_s). Its e-value is the likelihood ratio of the two points,

    ln e = x_c ln(tc/c) + (n_c-x_c) ln((1-tc)/(1-c)) + x_s ln(ts/s) + (n_s-x_s) ln((1-ts)/(1-s)).

Why E[e] <= 1 in all of the null: ln E[e] is concave in (theta_c, theta_s), zero at (c, s), and its gradient
there is normal to the line and points to (tc, ts). (Turner, Ly, Gruenwald, arXiv:2106.02693; Turner,
Gruenwald, arXiv:2203.09785.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from evaluator.statistics.counts import FloatArray

_RATIOS: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
_STEPS: Final = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
# What harm is bet to be before anything is seen. A bet of little weight finds late what it is of: that costs nothing
# where the harm shows within three looks anyway (the largest ratios and steps), or where its neighbours bet on much the
# same. With all alike a rise from .5 to 2 % took 1.44 times the requests that any test needs, and takes 1.33 times so.
_RATIO_WEIGHTS: Final = (0.5, 1.0, 2.0, 3.0, 1.0, 0.25, 0.125)
_STEP_WEIGHTS: Final = (2.0, 3.0, 2.0, 1.0, 0.25, 0.125)
# A rate of exactly 0 or 1 would bet everything on never seeing the other outcome.
_SMALLEST_RATE: Final = 1e-12
# A window of 10^12 requests against one of a few puts the projection next to the corner.
_INSIDE: Final = (1e-15, 1.0 - 1e-15)
_MOST_STEPS: Final = 200
# An error r of s, relative, raises ln E[e] by n*s*r^2/2 at most: by 5e-5 at n = 10^12. Newton's last step is
# far below.
_PRECISION: Final = 1e-8


class Side(StrEnum):
    """Which side of the line is the null."""

    HARM = "harm"
    """Null theta_c <= a + b*theta_s; rejecting it shows that the test version does harm."""
    NON_INFERIOR = "non_inferior"
    """Null theta_c >= a + b*theta_s; rejecting it shows that the test version is not worse by the margin."""


@dataclass(frozen=True, slots=True)
class Margin:
    """The line a + b*theta_s between what is tolerated of the test arm and what is not.

    a: in rate (0.0005 is .05 points); negative where the test version must be better. b: a factor, > 0; or 0, and then
    a is a limit that the test arm must keep to whatever the stable arm does. Raises ValueError for a line that misses
    the unit square.
    """

    a: float = 0.0
    b: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.a) and math.isfinite(self.b)):
            raise ValueError(f"a margin must be finite, got a={self.a}, b={self.b}")
        if self.is_limit and not 0.0 < self.a < 1.0:
            raise ValueError(f"a limit (b=0) needs 0 < a < 1, got a={self.a}")
        if not self.is_limit and not (self.b > 0.0 and -self.b < self.a < 1.0):
            raise ValueError(f"a margin needs b > 0 and -b < a < 1, got a={self.a}, b={self.b}")

    @property
    def is_limit(self) -> bool:
        """Whether the line is the same for every rate of the stable arm, which then is no evidence."""
        return self.b == 0.0

    @property
    def curved(self) -> bool:
        """Whether projections onto the line take a search."""
        return not self.is_limit and (self.a != 0.0 or self.b != 1.0)

    def rate(self, stable_rate: FloatArray) -> FloatArray:
        """Return the line's rate for the test arm at `stable_rate`; it may lie outside [0, 1]."""
        return self.a + self.b * stable_rate


@dataclass(frozen=True, slots=True, eq=False)
class Margins:
    """The lines of several tests that bet side by side, each (tests): neither limits nor equality."""

    a: FloatArray
    b: FloatArray

    @classmethod
    def of(cls, margins: Sequence[Margin]) -> Self:
        """Return the lines of margins that are `curved`."""
        return cls(np.array([one.a for one in margins]), np.array([one.b for one in margins]))

    @property
    def is_limit(self) -> bool:
        """None of them is one."""
        return False

    def rate(self, stable_rate: FloatArray) -> FloatArray:
        """Return each line's rate for the test arm at its test's `stable_rate`, (..., tests)."""
        return self.a + self.b * stable_rate


def prior_weights(side: Side) -> FloatArray:
    """Return the candidates' prior weights, (J,).

    For harm most of it is on rates that double to quintuple and on one to three points more. For non-inferiority half
    of the weight is on the two versions being alike: that is what a promotion nearly always has to show.
    """
    if side is Side.HARM:
        weights: FloatArray = np.array(_RATIO_WEIGHTS + _STEP_WEIGHTS)
        return weights / np.float64(weights.sum())
    grid = len(_RATIOS) + len(_STEPS)
    return np.append(np.full(grid, 0.5 / grid), 0.5)


def superiority_weights() -> FloatArray:
    """Return the weights of non-inferiority's candidates where the test arm must be better, (J,).

    "Alike" is then none of the alternatives; it keeps a weight only since all candidates must have one.
    """
    grid = len(_RATIOS) + len(_STEPS)
    return np.append(np.full(grid, 1.0 / grid), 1e-6)


def smoothed_rate(n: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
    """Return (x + 1/2)/(n + 1), kept strictly inside (0, 1)."""
    rate = (np.asarray(x, dtype=np.float64) + 0.5) / (np.asarray(n, dtype=np.float64) + 1.0)
    return _between(rate, _SMALLEST_RATE, 1.0 - _SMALLEST_RATE)


def smoothed(n: float, x: float) -> float:
    """Return `smoothed_rate` of one pair of counts."""
    return min(max((x + 0.5) / (n + 1.0), _SMALLEST_RATE), 1.0 - _SMALLEST_RATE)


def candidates(side: Side, margin: Margin | Margins, stable_rate: FloatArray, alike: FloatArray) -> FloatArray:
    """Return the test arm's rates bet on, (*shape, J); NaN where a candidate does not lie beyond the line.

    stable_rate, alike: (*shape), in (0, 1). `alike` is the test arm's rate if the versions are alike: the
    stable rate itself, unless the two arms count different events.
    """
    line = margin.rate(stable_rate)[..., np.newaxis]
    ratios, steps = np.array(_RATIOS), np.array(_STEPS)
    if side is Side.HARM:
        rates = np.concatenate((line * ratios, line + steps), axis=-1)
        beyond = rates > line
    else:
        rates = np.concatenate((line / ratios, line - steps, alike[..., np.newaxis]), axis=-1)
        beyond = rates < line
    inside = (rates > _SMALLEST_RATE) & (rates < 1.0 - _SMALLEST_RATE)
    return np.where(beyond & inside, rates, np.nan)


def project(
    side: Side, margin: Margin, test_rate: FloatArray, stable_rate: FloatArray, share: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return (s, c), the stable and the test arm's rates at the projection of both rates onto the line.

    The arguments broadcast; each candidate lies beyond the line (`candidates` without its NaN); share =
    n_c/(n_c+n_s) lies in (0, 1).
    """
    if margin.is_limit:
        stable, _ = np.broadcast_arrays(stable_rate, test_rate)
        return stable, np.full(stable.shape, margin.a)
    if not margin.curved:
        both = share * test_rate + (1.0 - share) * stable_rate
        return both, both
    return _search(side, (margin.a, margin.b), test_rate, stable_rate, share)


def _search(
    side: Side,
    line: tuple[float, float] | tuple[FloatArray, FloatArray],
    test_rate: FloatArray,
    stable_rate: FloatArray,
    share: FloatArray,
    of: npt.NDArray[np.intp] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return (s, c) as `project`: the root of a cubic, enclosed in a bracket and found by Newton's method.

    A bisection takes its place wherever Newton's step would leave the bracket. line: a and b. of: the test of each
    candidate, where there are several; the search of each ends by itself, so that no test's bets hang on another's.
    """
    a, b = line
    touching = (test_rate - a) / b
    lowest, highest = np.maximum(0.0, -a / b), np.minimum(1.0, (1.0 - a) / b)
    if side is Side.HARM:
        low, high = np.maximum(stable_rate, lowest), np.minimum(touching, highest)
    else:
        low, high = np.maximum(touching, lowest), np.minimum(stable_rate, highest)
    test_weight, stable_weight = share * b, 1.0 - share
    # Newton starts where the two arms' Fisher information at the line would put a straight problem's answer.
    nearest = _between(a + b * stable_rate, _SMALLEST_RATE, 1.0 - _SMALLEST_RATE)
    test_information = share * b * b / (nearest * (1.0 - nearest))
    stable_information = (1.0 - share) / (stable_rate * (1.0 - stable_rate))
    start = (test_information * touching + stable_information * stable_rate) / (test_information + stable_information)
    s = _between(start, low, high)
    searching = None if of is None else np.ones(int(of.max()) + 1, dtype=np.bool_)
    for _ in range(_MOST_STEPS):
        c = a + b * s
        test_gap, stable_gap = c - test_rate, s - stable_rate
        test_spread, stable_spread = c * (1.0 - c), s * (1.0 - s)
        value = test_weight * test_gap * stable_spread + stable_weight * stable_gap * test_spread
        slope = test_weight * (b * stable_spread + test_gap * (1.0 - 2.0 * s)) + stable_weight * (
            test_spread + stable_gap * b * (1.0 - 2.0 * c)
        )
        below = value < 0.0
        low, high = np.where(below, s, low), np.where(below, high, s)
        newton = s - value / (slope if _all(slope) else np.where(slope == 0.0, 1.0, slope))
        inside = (newton >= low) & (newton <= high)
        following = newton if _all(inside) else np.where(inside, newton, 0.5 * (low + high))
        found = np.abs(following - s) <= _PRECISION * np.minimum(stable_spread, test_spread)
        if of is None or searching is None:
            s = following
            if _all(found):
                break
            continue
        s = np.where(searching[of], following, s)
        still = np.zeros_like(searching)
        still[of[~found]] = True
        searching = searching & still
        if not searching.any():
            break
    return _between(s, *_INSIDE), _between(a + b * s, *_INSIDE)


def _between(values: FloatArray, low: float | FloatArray, high: float | FloatArray) -> FloatArray:
    """np.clip, which takes five times as long on a dozen values."""
    within: FloatArray = np.minimum(np.maximum(values, low), high)
    return within


def _all(values: npt.NDArray[np.bool_] | FloatArray) -> bool:
    """values.all(), which takes five times as long on a few dozens."""
    return bool(np.count_nonzero(values) == values.size)


def log_bets(
    side: Side,
    margin: Margin | Margins,
    stable_rate: FloatArray,
    alike: FloatArray,
    *,
    test: tuple[FloatArray, FloatArray],
    stable: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Return ln e per candidate, (*shape, J), zero where a window or a candidate says nothing.

    stable_rate, alike: as in `candidates`, known before the windows. test, stable: (n, x) of the windows,
    each (*shape). margin: of them all, or those of several tests, which are the last axis of the shape.
    """
    rates = candidates(side, margin, stable_rate, alike)
    informative = (test[0] > 0) & (margin.is_limit | (stable[0] > 0))
    speaks = ~np.isnan(rates) & informative[..., np.newaxis]
    logs = np.zeros(speaks.shape)
    if speaks.any():
        tc = (logs + rates)[speaks]
        ts, n_c, x_c, n_s, x_s = ((logs + values[..., np.newaxis])[speaks] for values in (stable_rate, *test, *stable))
        share = n_c / (n_c + n_s)
        if isinstance(margin, Margins):
            of = np.broadcast_to(np.arange(len(margin.a))[:, np.newaxis], speaks.shape)[speaks]
            s, c = _search(side, (margin.a[of], margin.b[of]), tc, ts, share, of)
        else:
            s, c = project(side, margin, tc, ts, share)
        logs[speaks] = _log_ratio(n_c, x_c, tc, c) + _log_ratio(n_s, x_s, ts, s)
    return logs


def _log_ratio(n: FloatArray, x: FloatArray, rate: FloatArray, null_rate: FloatArray) -> FloatArray:
    """Return x ln(rate/null) + (n-x) ln((1-rate)/(1-null)) without cancellation where the rates are close."""
    gap = rate - null_rate
    logs: FloatArray = x * np.log1p(gap / null_rate) + (n - x) * np.log1p(-gap / (1.0 - null_rate))
    return logs
