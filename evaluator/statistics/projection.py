"""The search for a bet's projection onto the line between the arms' rates; see `bets`."""

from typing import Final

import numpy as np
import numpy.typing as npt

from evaluator.statistics.counts import FloatArray

# A rate of exactly 0 or 1 would bet everything on never seeing the other outcome.
SMALLEST_RATE: Final = 1e-12
# A window of 10^12 requests against one of a few puts the projection next to the corner.
_INSIDE: Final = (1e-15, 1.0 - 1e-15)
_MOST_STEPS: Final = 200
# An error r of s, relative, raises ln E[e] by n*s*r^2/2 at most: by 5e-5 at n = 10^12. Newton's last step is
# far below.
_PRECISION: Final = 1e-8


def search(
    line: tuple[float, float] | tuple[FloatArray, FloatArray],
    bracket: tuple[FloatArray, FloatArray, FloatArray],
    test_rate: FloatArray,
    stable_rate: FloatArray,
    share: FloatArray,
    of: npt.NDArray[np.intp] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return (s, c) as `bets.project`: the root of a cubic, enclosed in a bracket and found by Newton's method.

    A bisection takes its place wherever Newton's step would leave the bracket.

    line: a and b. bracket: where the test arm's rate touches the line, and the limits of s. of: the test of each
    candidate, where there are several; the search of each ends by itself, so that no test's bets hang on another's.
    """
    (a, b), (touching, low, high) = line, bracket
    test_weight, stable_weight = share * b, 1.0 - share
    # Newton starts where the two arms' Fisher information at the line would put a straight problem's answer.
    nearest = between(a + b * stable_rate, SMALLEST_RATE, 1.0 - SMALLEST_RATE)
    test_information = share * b * b / (nearest * (1.0 - nearest))
    stable_information = (1.0 - share) / (stable_rate * (1.0 - stable_rate))
    start = (test_information * touching + stable_information * stable_rate) / (test_information + stable_information)
    s = between(start, low, high)
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
    return between(s, *_INSIDE), between(a + b * s, *_INSIDE)


def between(values: FloatArray, low: float | FloatArray, high: float | FloatArray) -> FloatArray:
    """np.clip, which takes five times as long on a dozen values."""
    within: FloatArray = np.minimum(np.maximum(values, low), high)
    return within


def _all(values: npt.NDArray[np.bool_] | FloatArray) -> bool:
    """values.all(), which takes five times as long on a few dozens."""
    return bool(np.count_nonzero(values) == values.size)
