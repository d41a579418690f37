"""How many requests a test needs, and how many it still needs.

At constant rates the log e of each candidate is a random walk: per request of the test arm it grows by `mean`
with variance `variance`, both closed forms (a difference of Kullback-Leibler divergences). The mixture is no
less than any one candidate with its prior weight, so what the best candidate needs is enough.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from evaluator.statistics import bets, shapes
from evaluator.statistics.bets import Side
from evaluator.statistics.counts import LARGEST_COUNT, FloatArray
from evaluator.statistics.histograms import at_least, quantile_bucket, shifted
from evaluator.statistics.process import EProcess, log_sum_exp, log_threshold
from evaluator.statistics.rates import RateTest
from evaluator.statistics.runtime import TAIL, RuntimeTest, cut_of

_DOUBLED: Final = 2.0 ** np.arange(54)
"""Requests at which a forecast is tried first: up to 2^53."""
_MOST_STEPS: Final = 100
_HALF: Final = 0.5
_PRECISION: Final = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """mean, variance: (J,) of each candidate's log e, per request (or label, or batch) of the test arm."""

    mean: FloatArray
    variance: FloatArray


def rate_growth(
    test: RateTest, test_rate: float, stable_rate: float, share: float, known: float | None = None
) -> Growth:
    """Return the growth of a rate test where the arms' rates are as given.

    share: the test arm's part of the requests of both arms, in (0, 1). known: stable's rate as the bets take
    it to be; None: as it is. Raises ValueError outside these ranges.
    """
    _check_share(share)
    if not (0.0 <= test_rate <= 1.0 and 0.0 <= stable_rate <= 1.0):
        raise ValueError(f"rates must lie in [0, 1], got {test_rate} and {stable_rate}")
    arms = np.array([test_rate]), np.array([stable_rate])
    bet_on = np.clip(arms[1] if known is None else np.array([known]), 1e-12, 1.0 - 1e-12)
    mean, variance = _rate_moments(test, bet_on, bet_on, arms, share)
    return Growth(mean[0], variance[0])


def runtime_growth(test: RuntimeTest, slower: int, share: float = 0.5) -> Growth:
    """Return the growth of a runtime test per batch of the test arm, at `slower` buckets slower.

    The control arm is taken to go on as in the test's past, which must have an observation. share: as in
    `rate_growth`, 0.5 where the control arm gets as much as the test arm.
    """
    _check_share(share)
    past = test.past.counts[test.past.counts.sum(axis=-1) > 0]
    if not past.size:
        raise ValueError("the runtime test has no past to forecast from; seed it with histograms")
    n_past = past.sum(axis=-1)
    arm = shifted(past, slower)
    if test.side is Side.HARM:
        mean, square = _shape_moments(test, past, arm, share)
    else:
        cut = cut_of(test, past)
        known = bets.smoothed_rate(n_past, at_least(past, cut))
        alike = bets.smoothed_rate(n_past, at_least(past, cut + test.margin))
        arms = at_least(arm, cut + test.margin) / n_past, at_least(past, cut) / n_past
        mean, variance = _rate_moments(test, known, alike, arms, share)
        square = variance + mean * mean
    return _overall(n_past, mean, square)


def tail_growth(test: RuntimeTest, margin: int, offset: float, share: float = 0.5) -> Growth:
    """Return the growth of a test of harm per batch of the test arm, whose tail is heavier by what safety allows.

    margin, offset: as in `runtime.runtime_tail_test`. The control arm is taken to go on as in the test's past, which
    must have an observation. share: as in `runtime_growth`.
    """
    _check_share(share)
    past = test.past.counts[test.past.counts.sum(axis=-1) > 0]
    if not past.size:
        raise ValueError("the runtime test has no past to forecast from; seed it with histograms")
    n_past, last = past.sum(axis=-1), past.shape[-1] - 1
    arm = past * (1.0 - offset)
    arm[np.arange(len(past)), np.minimum(quantile_bucket(past, TAIL) + 1 + margin, last)] += offset * n_past
    return _overall(n_past, *_shape_moments(test, past, arm, share))


def _overall(n_past: FloatArray, mean: FloatArray, square: FloatArray) -> Growth:
    """Put the batch sizes' moments, (rows, J), together as often as they come."""
    weights = (n_past / n_past.sum())[:, np.newaxis]
    overall = (weights * mean).sum(axis=0)
    return Growth(overall, np.maximum((weights * square).sum(axis=0) - overall * overall, 0.0))


def needed(process: EProcess, growth: Growth, alpha: float, power: float = 0.95) -> int | None:
    """Return the test arm's requests with which a fresh `process` reaches 1/alpha with probability `power`.

    None where no candidate's log e grows to speak of: at these rates the test never concludes. By the normal
    approximation of the random walk, for the candidate that needs least.
    """
    if not 0.0 < power < 1.0:
        raise ValueError(f"power must lie between 0 and 1, got {power}")
    growing = growth.mean > 0.0
    if not growing.any():
        return None
    mean, deviation = growth.mean[growing], np.sqrt(growth.variance[growing])
    distance = log_threshold(alpha) - process.log_weights[growing] - math.log1p(-process.reserve)
    quantile = float(ndtri(power)) * deviation
    root = (quantile + np.sqrt(quantile * quantile + 4.0 * mean * distance)) / (2.0 * mean)
    least = float((root * root).min())
    return math.ceil(least) if least <= LARGEST_COUNT else None


def remaining(process: EProcess, growth: Growth, alpha: float) -> int | None:
    """Return the test arm's further requests after which `process`, growing as expected, reaches 1/alpha.

    0 where it stands there, None where no candidate's log e grows to speak of. `process` is a single one, of
    shape ().
    """
    threshold = log_threshold(alpha)
    wealth, mean = process.log_wealth[..., :-1], growth.mean
    if float(process.log_e) >= threshold:
        return 0
    if not (mean > 0.0).any():
        return None
    reached = log_sum_exp(wealth + _DOUBLED[:, np.newaxis] * mean) >= threshold
    if not reached.any():
        return None
    # ln E is convex in the requests and below the threshold at 0, so it crosses once, and Newton's method from
    # beyond the crossing stays beyond it.
    requests = float(_DOUBLED[int(np.argmax(reached))])
    for _ in range(_MOST_STEPS):
        parts = wealth + requests * mean
        greatest = float(parts.max())
        weights = np.exp(parts - greatest)
        total = float(weights.sum())
        before = requests - (greatest + math.log(total) - threshold) * total / float((weights * mean).sum())
        moved, requests = requests - before, before
        if moved <= max(_HALF, _PRECISION * requests):
            break
    return max(math.ceil(requests), 1)


def _rate_moments(
    test: RateTest | RuntimeTest,
    known: FloatArray,
    alike: FloatArray,
    arms: tuple[FloatArray, FloatArray],
    share: float,
) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance, (rows, J), of log e per test request; a candidate that says nothing has 0 of both."""
    margin = test.margin if isinstance(test, RateTest) else bets.Margin(test.offset)
    rates = bets.candidates(test.side, margin, known, alike)
    speaks = ~np.isnan(rates)
    tc, ts = rates[speaks], np.broadcast_to(known[:, np.newaxis], rates.shape)[speaks]
    s, c = bets.project(test.side, margin, tc, ts, np.full(tc.shape, share))
    mean, variance = np.zeros(rates.shape), np.zeros(rates.shape)
    per_test = (1.0 - share) / share
    for theta, rate, null, weight in ((arms[0], tc, c, 1.0), (arms[1], ts, s, per_test)):
        true = np.broadcast_to(theta[:, np.newaxis], rates.shape)[speaks]
        bad, good = np.log(rate / null), np.log1p(-rate) - np.log1p(-null)
        mean[speaks] += weight * (true * bad + (1.0 - true) * good)
        variance[speaks] += weight * true * (1.0 - true) * (bad - good) ** 2
    return mean, variance


def _shape_moments(test: RuntimeTest, past: FloatArray, arm: FloatArray, share: float) -> tuple[FloatArray, FloatArray]:
    """Return mean and mean square, (rows, J), of log e per test batch."""
    slower = shifted(past, test.margin)
    logs = shapes.log_ratios(slower, test.ratio)
    log_test, log_control = shapes.log_evidence(logs, np.full(len(past), share), np.full(len(past), 1.0 - share))
    per_test = (1.0 - share) / share
    p, q = (counts[:, np.newaxis] / counts.sum(axis=-1)[:, np.newaxis, np.newaxis] for counts in (arm, slower))
    mean_test, mean_control = (p * log_test).sum(axis=-1), (q * log_control).sum(axis=-1)
    square_test, square_control = (p * log_test**2).sum(axis=-1), (q * log_control**2).sum(axis=-1)
    mean = mean_test + per_test * mean_control
    variance = square_test - mean_test**2 + per_test * (square_control - mean_control**2)
    return mean, variance + mean * mean


def _check_share(share: float) -> None:
    if not 0.0 < share < 1.0:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
