"""What others do: each judge gives the first look at which it would have rolled back, infinity where it never would.

Looks are 5 s apart here, so that 12 make a minute and 720 an hour.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from evaluator.statistics.counts import FloatArray

BoolArray = npt.NDArray[np.bool_]

PER_MINUTE: Final = 12
_MINUTES: Final = 5
_CHECKS: Final = 5
ONE_SIDED: Final = 1.6449
"""Quantile of the normal distribution at .95."""
ENOUGH_FOR_NORMAL: Final = 50
"""Observations of an arm from which on a mixture SPRT is asked: it is valid for many only."""
_KAYENTA: Final = 2.3263
"""At .99: a confidence interval of 98 %."""
_TOLERANCE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Rates:
    """x of n of both arms, (looks, rollouts) each."""

    n_test: FloatArray
    x_test: FloatArray
    n_stable: FloatArray
    x_stable: FloatArray


def first_look(crossed: BoolArray) -> FloatArray:
    """1-based number of the first true look per rollout, from (looks, rollouts); infinity: none."""
    found: FloatArray = np.where(crossed.any(axis=0), crossed.argmax(axis=0) + 1.0, np.inf)
    return found


def z_test(seen: Rates, quantile: float = ONE_SIDED) -> FloatArray:
    """A z-test of the sums at every look, at .05 on the side of harm."""
    n_test, x_test, n_stable, x_stable = _sums(seen)
    pooled = (x_test + x_stable) / np.maximum(n_test + n_stable, 1.0)
    n_both = 1.0 / np.maximum(n_test, 1.0) + 1.0 / np.maximum(n_stable, 1.0)
    spread = np.sqrt(pooled * (1.0 - pooled) * n_both)
    gap = x_test / np.maximum(n_test, 1.0) - x_stable / np.maximum(n_stable, 1.0)
    return first_look((gap > quantile * spread) & (spread > 0))


def msprt(seen: Rates, scale: float, alpha: float = 0.01) -> FloatArray:
    """The mixture SPRT of Johari, Koomen, Pekelis and Walsh for a difference of means.

    A normal prior of deviation `scale` on the difference, and the pooled variance. It rejects on the side of harm.
    """
    n_test, x_test, n_stable, x_stable = _sums(seen)
    pooled = (x_test + x_stable + 0.5) / (n_test + n_stable + 1.0)
    variance = pooled * (1.0 - pooled) * (1.0 / np.maximum(n_test, 1.0) + 1.0 / np.maximum(n_stable, 1.0))
    gap = x_test / np.maximum(n_test, 1.0) - x_stable / np.maximum(n_stable, 1.0)
    return first_look(beyond_mixture(gap, variance, scale, alpha) & (n_test >= ENOUGH_FOR_NORMAL))


def beyond_mixture(gap: FloatArray, variance: FloatArray, scale: float, alpha: float = 0.01) -> BoolArray:
    """Whether a normal mixture of deviation `scale` rejects, on the side of harm, a gap of this variance."""
    total = variance + scale * scale
    log_ratio = 0.5 * np.log(variance / total) + gap * gap * scale * scale / (2.0 * variance * total)
    rejects: BoolArray = (log_ratio >= -np.log(alpha)) & (gap > 0)
    return rejects


def flagger(seen: Rates, threshold: float) -> FloatArray:
    """Flagger's rule: where the test arm's own rate over 60 s is above a threshold, a check has failed; five end it."""
    n, x = (_per_minute(counts) for counts in (seen.n_test, seen.x_test))
    return checked(x > threshold * n)


def checked(failed: BoolArray) -> FloatArray:
    """The look at which the fifth check has failed, of checks (minutes, rollouts)."""
    return first_look(failed.cumsum(axis=0) >= _CHECKS) * PER_MINUTE


def kayenta_rates(seen: Rates) -> FloatArray:
    """Kayenta's judge on the arms' rates per minute."""
    n_test, x_test, n_stable, x_stable = (
        _per_minute(counts) for counts in (seen.n_test, seen.x_test, seen.n_stable, seen.x_stable)
    )
    return kayenta(x_test / np.maximum(n_test, 1.0), x_stable / np.maximum(n_stable, 1.0))


def kayenta(test: FloatArray, stable: FloatArray) -> FloatArray:
    """Every 5 minutes, on all points so far, (minutes, rollouts) per arm: a Mann-Whitney interval of 98 % of the shift.

    It rolls back where the interval's lower end is above a quarter of the estimated shift, Kayenta's default effect
    tolerance.
    """
    first = np.full(test.shape[1], np.inf)
    for minutes in range(_MINUTES, len(test) + 1, _MINUTES):
        gaps = (test[:minutes, np.newaxis] - stable[np.newaxis, :minutes]).reshape(minutes * minutes, -1)
        middle = minutes * minutes / 2.0
        width = _KAYENTA * np.sqrt(minutes * minutes * (2 * minutes + 1) / 12.0)
        lowest = max(int(middle - width), 0)
        half = (minutes * minutes) // 2
        placed = np.partition(gaps, sorted({lowest, half}), axis=0)
        harmful = (placed[lowest] > _TOLERANCE * np.abs(placed[half])) & np.isinf(first)
        first[harmful] = minutes * PER_MINUTE
    return first


def _sums(seen: Rates) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return (
        seen.n_test.cumsum(axis=0),
        seen.x_test.cumsum(axis=0),
        seen.n_stable.cumsum(axis=0),
        seen.x_stable.cumsum(axis=0),
    )


def _per_minute(counts: FloatArray) -> FloatArray:
    minutes = len(counts) // PER_MINUTE
    total: FloatArray = counts[: minutes * PER_MINUTE].reshape(minutes, PER_MINUTE, -1).sum(axis=1)
    return total
