"""Bets on the shape of a slower version's histogram.

A bet is a ratio r = q_c/q_s per bucket between the alternative q_c and the control's past q_s. The e-value of
one observation is r/(w r + 1 - w) in the test arm and 1/(w r + 1 - w) in the control arm, w the window's
share of the test arm. Why E[e] <= 1: for arms of one distribution by the inequality of the means, whatever
that distribution is; and r, so the test arm's factor, does not fall with the bucket, so a test arm
stochastically faster than the control has no greater expectation.

Two families: tilts q_s*exp(lambda*bucket), the whole distribution slower; and steps, more mass from some
quantile on, which is what a slow path taken by few batches looks like.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from evaluator.statistics.counts import FloatArray
from evaluator.statistics.histograms import quantile_buckets, smoothed

_SLOWDOWNS: Final = (1.05, 1.1, 1.2, 1.4, 1.8)
# The past's quantile, how much slower than it in time, and the masses that alternatives have beyond.
_CUTS: Final = (
    (0.9, 1.0, (0.2, 0.4, 0.8)),
    (0.99, 1.0, (0.02, 0.04, 0.08)),
    (0.99, 4.0, (0.01, 0.03, 0.1)),
)
_MASSES_PER_CUT: Final = 3
# Part of every alternative is the past itself, so that one observation faster than the past costs no more
# than ln(0.05).
_PLAIN: Final = 0.05
_TAIL: Final = 0.001
_NEWTON_STEPS: Final = 12
# In buckets: which alternatives are bet on need not be exact, only fixed by the past.
_NEAR: Final = 0.01
_ALL: Final = slice(None)
_STEEPEST: Final = 40.0
_LOG_SLOWDOWNS: Final = np.log(np.array(_SLOWDOWNS))
_MASSES: Final = np.array([mass for _, _, masses in _CUTS for mass in masses])[:, np.newaxis]


def prior_weights() -> FloatArray:
    """Return the alternatives' prior weights, (J,): half on the tilts, half on the steps."""
    tilts, steps = len(_SLOWDOWNS), len(_CUTS) * _MASSES_PER_CUT
    return np.concatenate((np.full(tilts, 0.5 / tilts), np.full(steps, 0.5 / steps)))


def log_ratios(past: FloatArray, ratio: float, buckets: npt.NDArray[np.intp] | slice = _ALL) -> FloatArray:
    """Return ln r, (rows, J, buckets), for the control's past.

    past: (rows, buckets) counts, each row with an observation. ratio: that of the geometric bounds. buckets: of which
    it is asked.
    """
    shape = smoothed(past)
    logs = np.concatenate((_tilts(past, shape, ratio), _steps(past, shape, ratio)), axis=1)[..., buckets]
    mixed: FloatArray = np.logaddexp(logs + math.log1p(-_PLAIN), math.log(_PLAIN))
    return mixed


def log_evidence(logs: FloatArray, test_share: FloatArray, control_share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ln of the e-value of one observation in the test and in the control arm, both like `logs`.

    logs: ln r, (rows, J, buckets). test_share, control_share: w and 1 - w per row, both > 0.
    """
    mean = np.logaddexp(
        logs + np.log(test_share)[:, np.newaxis, np.newaxis], np.log(control_share)[:, np.newaxis, np.newaxis]
    )
    return logs - mean, -mean


def _tilts(past: FloatArray, shape: FloatArray, ratio: float) -> FloatArray:
    """Tilt each row's shape so that its mean moves up by each slowdown; outside the past's reach the tilt is flat."""
    moves = _LOG_SLOWDOWNS / math.log(ratio)
    lowest, quantile = (buckets[:, np.newaxis, np.newaxis] for buckets in quantile_buckets(past, (_TAIL, 1.0 - _TAIL)))
    highest = quantile + moves[:, np.newaxis]
    scores = np.clip(np.arange(past.shape[-1], dtype=np.float64), lowest, np.maximum(highest, lowest + 1))
    weights = shape[:, np.newaxis, :]
    scores = scores - (weights * scores).sum(axis=-1, keepdims=True)
    tilt = np.zeros((*scores.shape[:-1], 1))
    # Where a few batches are far slower than all others, Newton's step overshoots, and then falls back below 0.
    low, high = np.zeros_like(tilt), np.full_like(tilt, _STEEPEST)
    for steps_left in reversed(range(_NEWTON_STEPS + 1)):
        exponents = tilt * scores
        greatest = exponents.max(axis=-1, keepdims=True)
        tilted = weights * np.exp(exponents - greatest)
        total = tilted.sum(axis=-1, keepdims=True)
        moved = tilted / total * scores
        mean = moved.sum(axis=-1, keepdims=True)
        short = moves[:, np.newaxis] - mean
        near = np.abs(short) < _NEAR
        if near.all() or not steps_left:
            break
        spread = (moved * scores).sum(axis=-1, keepdims=True) - mean * mean
        low, high = np.where(short > 0.0, tilt, low), np.where(short > 0.0, high, tilt)
        newton = tilt + short / np.maximum(spread, 0.05)
        following = np.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
        # Each row stops on its own, so that no batch size's bet hangs on which others were seen in the look.
        tilt = np.where(near, tilt, following)
    logs: FloatArray = exponents - (np.log(total) + greatest)
    return logs


def _steps(past: FloatArray, shape: FloatArray, ratio: float) -> FloatArray:
    """Give the buckets above each step's cut its mass; a cut beyond the last bucket leaves the shape as it is."""
    found = quantile_buckets(past, [quantile for quantile, _, _ in _CUTS])
    beyond = [1 + round(math.log(factor) / math.log(ratio)) for _, factor, _ in _CUTS]
    cuts = np.stack([bucket + further for bucket, further in zip(found, beyond, strict=True)], axis=-1)
    above = np.repeat(np.arange(past.shape[-1]) >= cuts[..., np.newaxis], _MASSES_PER_CUT, axis=1)
    tail = np.clip((shape[:, np.newaxis] * above).sum(axis=-1, keepdims=True), 1e-12, 0.5 * _MASSES)
    logs = np.where(above, np.log(_MASSES / tail), np.log((1.0 - _MASSES) / (1.0 - tail)))
    stepped: FloatArray = np.where(above.any(axis=-1, keepdims=True), logs, 0.0)
    return stepped
