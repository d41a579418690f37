"""Runtimes of the test version against control's, by batch size.

A bet that all is slower tilts control's past until its mean has moved by so much; the product finds how far by Newton's
method and stops within a hundredth of a bucket. How far it tilted is taken from it, after that was checked.
"""

import math
from collections.abc import Sequence

from benchmarks.evaluator_error_rates.oracle.mixture import log_mixture
from benchmarks.evaluator_error_rates.oracle.rates import Row, log_bet, safe_bets

Histogram = Sequence[float]
Batches = tuple[int, Histogram, Histogram]
"""A batch size, and the test's and control's batches by runtime."""

SLOWDOWNS = (1.05, 1.1, 1.2, 1.4, 1.8)
_CUTS = ((0.9, 1.0, (0.2, 0.4, 0.8)), (0.99, 1.0, (0.02, 0.04, 0.08)), (0.99, 4.0, (0.01, 0.03, 0.1)))
_PLAIN = 0.05
_ENOUGH = 30


def slower(counts: Histogram, buckets: int) -> list[float]:
    """All batches so many buckets later; the last one is open."""
    last = len(counts) - 1
    moved = [0.0] * len(counts)
    for bucket, count in enumerate(counts):
        moved[min(bucket + buckets, last)] += count
    return moved


def quantile(counts: Histogram, share: float) -> int:
    """The first bucket up to which more than `share` of the batches lie."""
    whole, sofar = math.fsum(counts), 0.0
    for bucket, count in enumerate(counts):
        sofar += count
        if sofar > share * whole:
            return bucket
    raise ValueError("a histogram without batches has no quantile")


def blurred(counts: Histogram) -> list[float]:
    """Shares, each count spread by a Gaussian of 0.7 buckets over eight on both sides; the outermost take the rest."""
    kernel = [math.exp(-0.5 * (offset / 0.7) ** 2) for offset in range(-8, 9)]
    whole, last = math.fsum(kernel), len(counts) - 1
    found = [0.0] * len(counts)
    for bucket, count in enumerate(counts):
        for offset, weight in zip(range(-8, 9), kernel, strict=True):
            found[min(max(bucket + offset, 0), last)] += count * weight / whole
    total = math.fsum(found)
    return [share / total for share in found]


def tilt(past: Histogram, ratio: float, slowdown: float, steepness: float) -> tuple[list[float], float]:
    """ln r by bucket of the past tilted so steeply, and by how many buckets its mean is off what was wanted."""
    move = math.log(slowdown) / math.log(ratio)
    low = quantile(past, 0.001)
    high = max(quantile(past, 0.999) + move, low + 1)
    scores = [min(max(bucket, low), high) for bucket in range(len(past))]
    shares = blurred(past)
    middle = math.fsum(share * score for share, score in zip(shares, scores, strict=True))
    mass = math.fsum(
        share * math.exp(steepness * (score - middle)) for share, score in zip(shares, scores, strict=True)
    )
    logs = [steepness * (score - middle) - math.log(mass) for score in scores]
    mean = math.fsum(
        share * math.exp(log) * (score - middle) for share, log, score in zip(shares, logs, scores, strict=True)
    )
    return logs, mean - move


def steps(past: Histogram, ratio: float) -> list[list[float]]:
    """ln r by bucket of the alternatives that have more mass beyond a quantile."""
    shares, found = blurred(past), []
    for share, factor, masses in _CUTS:
        cut = quantile(past, share) + 1 + round(math.log(factor) / math.log(ratio))
        for mass in masses:
            if cut >= len(past):
                found.append([0.0] * len(past))
                continue
            tail = min(max(math.fsum(shares[cut:]), 1e-12), 0.5 * mass)
            below, beyond = math.log((1.0 - mass) / (1.0 - tail)), math.log(mass / tail)
            found.append([beyond if bucket >= cut else below for bucket in range(len(past))])
    return found


def harm_gains(past: Histogram, logs: Sequence[Histogram], margin: int, row: Batches) -> list[float]:
    """ln e of each alternative on one window; `logs` are ln r before the past itself was mixed in."""
    _, test, control = row
    moved = slower(control, margin)
    n_test, n_control = math.fsum(test), math.fsum(moved)
    if math.fsum(past) < _ENOUGH or not n_test or not n_control:
        return [0.0] * len(logs)
    w = n_test / (n_test + n_control)
    gains = []
    for ratios in logs:
        mixed = [(1.0 - _PLAIN) * math.exp(log) + _PLAIN for log in ratios]
        mean = [w * r + 1.0 - w for r in mixed]
        gains.append(
            math.fsum(
                n * math.log(r / m) - c * math.log(m) for n, c, r, m in zip(test, moved, mixed, mean, strict=True)
            )
        )
    return gains


def harm_weights() -> list[float]:
    """Of the alternatives: half of it on tilts, half on steps."""
    tilts, others = len(SLOWDOWNS), 9
    return [0.5 / tilts] * tilts + [0.5 / others] * others


def harm_log_e(gains: Sequence[Sequence[float]], late: float) -> float:
    """ln E after looks in which the alternatives gained so much."""
    return log_mixture(harm_weights(), gains, late)


def safe_gains(past: Histogram, margin: int, row: Batches, *, share: float, offset: float) -> list[float]:
    """ln e of each bet that the test version has no more batches beyond control's quantile, made slower."""
    _, test, control = row
    nothing = [0.0] * 14
    if math.fsum(past) < _ENOUGH or not math.fsum(test) or not math.fsum(control):
        return nothing
    cut = quantile(past, share)
    if offset:
        cut = min(cut + 1, len(past) - 1 - margin)
    if cut + margin >= len(past):
        return nothing
    whole = math.fsum(past)
    ts, alike = ((math.fsum(past[first:]) + 0.5) / (whole + 1.0) for first in (cut, cut + margin))
    line = offset + ts
    rates = [rate for _, rate in safe_bets(offset, 1.0, ts)[:-1]] + [alike if 0.0 < alike < line else math.nan]
    counts: Row = int(math.fsum(test)), int(sum(test[cut + margin :])), int(math.fsum(control)), int(sum(control[cut:]))
    return [log_bet(offset, 1.0, rate, ts, counts) for rate in rates]


def safe_log_e(gains: Sequence[Sequence[float]]) -> float:
    """ln E after looks: half of the weight on versions alike."""
    return log_mixture([0.5 / 13] * 13 + [0.5], gains, 0.0)
