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
from typing import ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from evaluator.statistics.counts import FloatArray
from evaluator.statistics.projection import SMALLEST_RATE, between, search

_RATIOS: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
_STEPS: Final = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
# What harm is bet to be before anything is seen. A bet of little weight finds late what it is of: that costs nothing
# where the harm shows within three looks anyway (the largest ratios and steps), or where its neighbours bet on much the
# same. With all alike a rise from .5 to 2 % took 1.44 times the requests that any test needs, and takes 1.33 times so.
_RATIO_WEIGHTS: Final = (0.5, 1.0, 2.0, 3.0, 1.0, 0.25, 0.125)
_STEP_WEIGHTS: Final = (2.0, 3.0, 2.0, 1.0, 0.25, 0.125)
_EACH_RATIO: Final = np.array(_RATIOS)
_EACH_STEP: Final = np.array(_STEPS)


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
    is_limit: ClassVar[bool] = False
    curved: ClassVar[bool] = True

    @classmethod
    def of(cls, margins: Sequence[Margin]) -> Self:
        """Return the lines of margins that are `curved`."""
        return cls(np.array([one.a for one in margins]), np.array([one.b for one in margins]))

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
    return between(rate, SMALLEST_RATE, 1.0 - SMALLEST_RATE)


def smoothed(n: float, x: float) -> float:
    """Return `smoothed_rate` of one pair of counts."""
    return min(max((x + 0.5) / (n + 1.0), SMALLEST_RATE), 1.0 - SMALLEST_RATE)


def candidates(side: Side, margin: Margin | Margins, stable_rate: FloatArray, alike: FloatArray) -> FloatArray:
    """Return the test arm's rates bet on, (*shape, J); NaN where a candidate does not lie beyond the line.

    stable_rate, alike: (*shape), in (0, 1). `alike` is the test arm's rate if the versions are alike: the
    stable rate itself, unless the two arms count different events.
    """
    line = margin.rate(stable_rate)[..., np.newaxis]
    if side is Side.HARM:
        rates = np.concatenate((line * _EACH_RATIO, line + _EACH_STEP), axis=-1)
        beyond = rates > line
    else:
        rates = np.concatenate((line / _EACH_RATIO, line - _EACH_STEP, alike[..., np.newaxis]), axis=-1)
        beyond = rates < line
    inside = (rates > SMALLEST_RATE) & (rates < 1.0 - SMALLEST_RATE)
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
    bracket = bracket_of(side is Side.HARM, margin.a, margin.b, test_rate, stable_rate)
    return search((margin.a, margin.b), bracket, test_rate, stable_rate, share)


def bracket_of(
    is_harm: bool | npt.NDArray[np.bool_],
    a: float | FloatArray,
    b: float | FloatArray,
    test_rate: FloatArray,
    stable_rate: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return where the test arm's rate touches the line, and the limits of s."""
    touching = (test_rate - a) / b
    lowest, highest = np.maximum(0.0, -a / b), np.minimum(1.0, (1.0 - a) / b)
    low, high = np.where(is_harm, stable_rate, touching), np.where(is_harm, touching, stable_rate)
    return touching, np.maximum(low, lowest), np.minimum(high, highest)
