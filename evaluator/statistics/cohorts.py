"""Two rates where a key's requests all go to one arm: compared by cohorts of keys, at few looks.

A user's requests fail together, today and tomorrow, so that neither requests nor windows are independent. Keys are:
each is drawn into a cohort by its hash. Of an arm with n_k requests and x_k bad ones in cohort k the rate is the ratio
R = sum(x_k)/sum(n_k), and its variance by linearization (Cochran, "Sampling Techniques", 1977, chapter 6)

    V = K/(K-1) sum((x_k - R n_k)^2)/sum(n_k)^2.

Beyond the line a + b*theta_s lies D = R_c - a - b R_s, and D/sqrt(V_c + b^2 V_s) is held against Student's t with the
degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946). V_c is never taken to be less than the variance at
the line itself, L(1-L)/n times the design effect that stable's keys show: of a test arm with few bad keys V_c says too
little, and it would seem safe for having been lucky. And of K cohorts only Kish's effective number counts for an arm's
degrees of freedom, (sum n_k)^2/sum(n_k^2): a user with half of its requests leaves it few ("Survey Sampling", 1965).

Since the counts of all looks are cumulative, and only few looks are taken, at times fixed before the start, each has a
part of the error (the union bound); ln(part/p) is therefore read as log evidence against the same bar as an e-process.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from scipy.stats import t as student

from evaluator.statistics.bets import Margin, Side, smoothed_rate
from evaluator.statistics.counts import FloatArray, check_part, checked_counts, frozen
from evaluator.statistics.intervals import DEFAULT_ALPHA, Interval

ENOUGH_COHORTS: Final = 20
"""With fewer cohorts of either arm that have requests there is no evidence: their variance is hardly known."""
ENOUGH_EFFECTIVE: Final = 3.0
"""The least effective number of cohorts: below it one user has most of an arm, and an arm's rate is his."""

LAST_LOOK: Final = 0.9
_LOOKS: Final = tuple(LAST_LOOK * part for part in (1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1))
"""When the looks of a period are, in parts of it: soon for a version that fails everybody, the last one before its
end, since what the period's first seconds have is not judged."""
_OF_PERIOD: Final = 0.9
"""Part of the error that the period's looks share; the rest is for those after it, each twice as late as the last."""


@dataclass(frozen=True, slots=True, eq=False)
class CohortCounts:
    """Requests or labels by cohort, and the bad ones among them: each (cohorts), of the test and of the stable arm.

    Raises ValueError for counts that are negative, not whole, not finite, or x > n.
    """

    n_test_by: FloatArray
    x_test_by: FloatArray
    n_stable_by: FloatArray
    x_stable_by: FloatArray

    def __post_init__(self) -> None:
        rows = (self.n_test_by, self.x_test_by, self.n_stable_by, self.x_stable_by)
        n_test, x_test, n_stable, x_stable = checked_counts("counts", rows)
        check_part("x_test", x_test, "n_test", n_test)
        check_part("x_stable", x_stable, "n_stable", n_stable)

    @classmethod
    def none(cls, cohorts: int) -> Self:
        """Return counts of nothing."""
        zero = frozen(np.zeros(cohorts))
        return cls(zero, zero, zero, zero)

    def plus(self, other: "CohortCounts") -> "CohortCounts":
        """Return the sum of both."""
        return CohortCounts(
            frozen(self.n_test_by + other.n_test_by),
            frozen(self.x_test_by + other.x_test_by),
            frozen(self.n_stable_by + other.n_stable_by),
            frozen(self.x_stable_by + other.x_stable_by),
        )

    @property
    def n_test(self) -> float:
        """All of the test arm."""
        return float(self.n_test_by.sum())

    @property
    def x_test(self) -> float:
        """The bad ones among them."""
        return float(self.x_test_by.sum())

    @property
    def n_stable(self) -> float:
        """All of the stable arm."""
        return float(self.n_stable_by.sum())

    @property
    def x_stable(self) -> float:
        """The bad ones among them."""
        return float(self.x_stable_by.sum())

    @property
    def test_rate(self) -> float:
        """The test arm's rate; NaN without any."""
        return self.x_test / self.n_test if self.n_test else math.nan

    @property
    def stable_rate(self) -> float:
        """The stable arm's rate; NaN without any."""
        return self.x_stable / self.n_stable if self.n_stable else math.nan

    def interval(self, alpha: float = DEFAULT_ALPHA) -> Interval:
        """Return the difference test minus stable, with limits that hold at the period's looks together."""
        return _limits(_score(self, Margin(), at_line=False), alpha)

    def beyond(self, limit: float, alpha: float = DEFAULT_ALPHA) -> Interval:
        """Return the test arm's rate minus a limit in (0, 1), with limits as those of `interval`."""
        return _limits(_score(self, Margin(limit, 0.0), at_line=False), alpha)


@dataclass(frozen=True, slots=True)
class CohortTest:
    """The state of one test.

    side, margin: as in `rates.RateTest`. part: of the error, what a step may spend. log_e: ln(part/p) at the latest
    look that was taken; max_log_e: the greatest so far.
    """

    side: Side
    margin: Margin
    part: float = 1.0
    log_e: float = 0.0
    max_log_e: float = 0.0


def look(test: CohortTest, counts: CohortCounts, part: float) -> CohortTest:
    """Return the test after a look.

    counts: all since the step began. part: of the step's error, what this look may spend.
    """
    score = _score(counts, test.margin, at_line=True)
    if score is None:
        return test
    sign = 1.0 if test.side is Side.HARM else -1.0
    log_p = float(student.logsf(sign * score.difference / math.sqrt(score.variance), score.freedom))
    log_e = math.log(part * test.part) - log_p
    return replace(test, log_e=log_e, max_log_e=max(test.max_log_e, log_e))


def restart(test: CohortTest) -> CohortTest:
    """Return the test without evidence, what it once showed kept."""
    return replace(test, log_e=0.0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which looks of a step were taken.

    taken: how many.
    """

    taken: int = 0

    def due(self, at: float) -> tuple[float, "Schedule"]:
        """Return the part of the error for a look at `at`, in parts of the period, and the schedule after it.

        0: none is due. Looks that are due together are one.
        """
        part, taken = 0.0, self.taken
        while self._time(taken) <= at:
            part += self._part(taken)
            taken += 1
        return part, Schedule(taken)

    @property
    def following(self) -> float:
        """When the next look is, in parts of the period."""
        return self._time(self.taken)

    @staticmethod
    def _time(number: int) -> float:
        later = number - len(_LOOKS) + 1
        return _LOOKS[number] if later <= 0 else LAST_LOOK * 2.0**later

    @staticmethod
    def _part(number: int) -> float:
        later = number - len(_LOOKS) + 1
        return _OF_PERIOD / len(_LOOKS) if later <= 0 else (1.0 - _OF_PERIOD) / (later * (later + 1))


@dataclass(frozen=True, slots=True)
class _Score:
    difference: float
    variance: float
    freedom: float


def _score(counts: CohortCounts, margin: Margin, *, at_line: bool) -> _Score | None:
    """How far the test arm lies beyond the line; None: too few cohorts have anything.

    at_line: its variance is at least the line's own, which is for tests.
    """
    test = _ratio(counts.n_test_by, counts.x_test_by)
    stable = _ratio(counts.n_stable_by, counts.x_stable_by)
    if test is None or (stable is None and not margin.is_limit):
        return None
    n_test = counts.n_test
    line, stable_variance, stable_freedom, difference = margin.a, 0.0, 1.0, test.rate - margin.a
    if stable is not None and not margin.is_limit:
        usual = float(smoothed_rate(counts.n_stable, counts.x_stable))
        line = min(max(margin.a + margin.b * usual, 0.0), 1.0)
        difference -= margin.b * stable.rate
        stable_variance, stable_freedom = margin.b**2 * stable.variance, stable.freedom
    # That of the test arm itself too, where its keys differ more than stable's, or nothing is known of stable's.
    effect = max(one.effect for one in (test, stable) if one is not None)
    floor = effect * line * (1.0 - line) / n_test if at_line else 0.0
    variance = max(test.variance, floor)
    total = variance + stable_variance
    freedom = total**2 / (variance**2 / test.freedom + stable_variance**2 / stable_freedom)
    return _Score(difference, total, freedom)


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A rate, its variance (no less than a binomial's) with its degrees of freedom, and how many times that is."""

    rate: float
    variance: float
    freedom: float
    effect: float


def _ratio(n: FloatArray, x: FloatArray) -> _Ratio | None:
    cohorts, total = int((n > 0).sum()), float(n.sum())
    effective = total**2 / float((n**2).sum()) if cohorts else 0.0
    if cohorts < ENOUGH_COHORTS or effective < ENOUGH_EFFECTIVE:
        return None
    rate = float(x.sum()) / total
    variance = cohorts / (cohorts - 1.0) * float(((x - rate * n) ** 2).sum()) / total**2
    smoothed = float(smoothed_rate(total, x.sum()))
    binomial = smoothed * (1.0 - smoothed) / total
    variance = max(variance, binomial)
    return _Ratio(rate, variance, effective - 1.0, variance / binomial)


def _limits(score: _Score | None, alpha: float) -> Interval:
    if score is None:
        return Interval(math.nan, math.nan, math.nan)
    part = _OF_PERIOD / len(_LOOKS)
    radius = float(student.isf(part * alpha / 2.0, score.freedom)) * math.sqrt(score.variance)
    found = score.difference
    return Interval(found, max(found - radius, -1.0), min(found + radius, 1.0))
