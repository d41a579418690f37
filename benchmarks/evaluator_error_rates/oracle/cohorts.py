"""Two rates by cohorts of keys: ratios of sums, their variance from whole numbers, and Student's t.

A rate is the ratio R = X/N of sums over the K cohorts that have requests, its variance by linearization (Cochran,
"Sampling Techniques", 1977, chapter 6) K/(K-1) sum((x_k - R n_k)^2)/N^2: whole numbers over N^4, so that nothing is
rounded before the end. The degrees of freedom of one arm are Kish's effective number of cohorts less one ("Survey
Sampling", 1965), of both Satterthwaite's (Biometrics Bulletin 2, 1946).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from benchmarks.evaluator_error_rates.oracle.rates import project
from benchmarks.evaluator_error_rates.oracle.students import log_tail, quantile

By = Sequence[int]
"""Of each cohort."""
_ENOUGH: Final = 20
_EFFECTIVE: Final = 3
_SHOWN_PART: Final = 0.75 / 7.0
"""Of the error, what one of seven great looks may spend: the limits that are shown are a look's."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm shows.

    Attributes:
        n: requests.
        rate: of bad ones among them.
        variance: of it, and no less than of independent requests.
        freedom: degrees of it.
        effect: how many times that of independent requests it is.
        smoothed: the rate with half a bad request more, and half a good one.
    """

    n: int
    rate: Fraction
    variance: float
    freedom: float
    effect: float
    smoothed: float

    @classmethod
    def of(cls, n: By, x: By) -> "Arm | None":
        """What requests by cohort and the bad ones among them show; None: nothing, since there are too few keys."""
        used, whole, bad = sum(one > 0 for one in n), sum(n), sum(x)
        squares = sum(one * one for one in n)
        if used < _ENOUGH or whole**2 < _EFFECTIVE * squares:
            return None
        spread = sum((b * whole - bad * a) ** 2 for a, b in zip(n, x, strict=True))
        smoothed = (bad + 0.5) / (whole + 1.0)
        alone = smoothed * (1.0 - smoothed) / whole
        variance = max(float(Fraction(used * spread, (used - 1) * whole**4)), alone)
        freedom = float(Fraction(whole**2, squares)) - 1.0
        return cls(whole, Fraction(bad, whole), variance, freedom, variance / alone, smoothed)


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests by cohort and the bad ones among them, of the test and of the stable arm."""

    n_test: By
    x_test: By
    n_stable: By
    x_stable: By

    @property
    def excess(self) -> float:
        """The test arm's bad ones beyond those at stable's rate."""
        n_stable = sum(self.n_stable)
        usual = sum(self.n_test) * (sum(self.x_stable) / n_stable) if n_stable else 0.0
        return sum(self.x_test) - usual


def total(windows: Sequence[Counted], cohorts: int) -> Counted:
    """All of them together."""
    table = [(one.n_test, one.x_test, one.n_stable, one.x_stable) for one in windows]
    return Counted(*([sum(row[part][k] for row in table) for k in range(cohorts)] for part in range(4)))


@dataclass(frozen=True, slots=True)
class Score:
    """How far the test arm lies beyond the line a + b*theta_s: positive, if it is worse."""

    difference: float
    variance: float
    freedom: float


def score(seen: Counted, a: float, b: float, *, harm: bool | None) -> Score | None:
    """The score; b = 0: of the test arm against the limit a. None: nothing is known.

    Args:
        seen: all that is judged.
        a: in rate.
        b: a factor.
        harm: whether harm is to be shown, or that there is none; None: neither, it is an estimate.
    """
    test, stable = Arm.of(seen.n_test, seen.x_test), Arm.of(seen.n_stable, seen.x_stable)
    if test is None or (stable is None and b):
        return None
    effect = max(arm.effect for arm in (test, stable) if arm)
    if stable is None or not b:
        floor = 0.0 if harm is None else effect * a * (1.0 - a) / test.n
        return Score(float(test.rate - Fraction(a)), max(test.variance, floor), test.freedom)
    difference = test.rate - Fraction(a) - Fraction(b) * stable.rate
    floors = [0.0, 0.0]
    if harm is not None and (difference > 0) == harm:
        c, s = project(a, b, test.smoothed, stable.smoothed, test.n / (test.n + stable.n))
        floors = [effect * rate * (1.0 - rate) / arm.n for rate, arm in ((c, test), (s, stable))]
    parts = max(test.variance, floors[0]), b * b * max(stable.variance, floors[1])
    both = sum(parts)
    freedom = both**2 / (parts[0] ** 2 / test.freedom + parts[1] ** 2 / stable.freedom)
    return Score(float(difference), both, freedom)


def log_one_in_p(
    seen: Counted, a: float, b: float, *, harm: bool, times: float = 1.0, alike: bool = False
) -> float | None:
    """ln(1/p); None: there is no evidence.

    Args:
        seen: all that is judged.
        a: as in `score`.
        b: as in `score`.
        harm: as in `score`.
        times: from as many times the keys, which say as many times as much.
        alike: of a test arm that is found to be like the stable one; against a limit it is as it is.
    """
    found = score(seen, a, b, harm=harm)
    if found is None:
        return None
    difference = found.difference
    if alike and b:
        difference = (1.0 - b) * (sum(seen.x_stable) / sum(seen.n_stable)) - a
    sign = 1.0 if harm else -1.0
    return -log_tail(sign * difference / math.sqrt(found.variance / times), found.freedom)


def limits(seen: Counted, a: float, b: float, alpha: float) -> tuple[float, float] | None:
    """Between which the difference lies, by a test of each side at a great look; None: it is not known."""
    found = score(seen, a, b, harm=None)
    if found is None:
        return None
    radius = quantile(_SHOWN_PART * alpha / 2.0, found.freedom) * math.sqrt(found.variance)
    return max(found.difference - radius, -1.0), min(found.difference + radius, 1.0)
