"""Two rates where a key's requests all go to one arm: compared by cohorts of keys, at few looks.

A user's requests fail together, today and tomorrow, so that neither requests nor windows are independent. Keys are:
each is drawn into a cohort by its hash. Of an arm with n_k requests and x_k bad ones in cohort k the rate is the ratio
R = sum(x_k)/sum(n_k), and its variance by linearization (Cochran, "Sampling Techniques", 1977, chapter 6)

    V = K/(K-1) sum((x_k - R n_k)^2)/sum(n_k)^2.

Beyond the line a + b*theta_s lies D = R_c - a - b R_s, and D/sqrt(V_c + b^2 V_s) is held against Student's t with the
degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946), of an arm's K cohorts counting only Kish's effective
number, (sum n_k)^2/sum(n_k^2): a user with half of its requests leaves it few ("Survey Sampling", 1965). No variance
is taken to be less than at the nearest point of the line, p(1-p)/n times the design effect that the keys show: where an
arm has few bad keys its own variance says too little, and it would seem better for having been lucky.

The counts of all looks are cumulative. Looks are taken at times fixed before the start, so that each can have a part of
the error (the union bound), and ln(part/p) is read as log evidence against the same bar as an e-process. A look without
evidence, which depends on how many requests came and not on what became of them, leaves its part to the next.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from scipy.stats import t as student

from evaluator.statistics.bets import Margin, Side, project, smoothed_rate
from evaluator.statistics.counts import FloatArray, check_part, checked_counts, frozen
from evaluator.statistics.intervals import DEFAULT_ALPHA, Interval
from evaluator.statistics.schedule import GREAT_PART

ENOUGH_COHORTS: Final = 20
"""With fewer cohorts of either arm that have requests there is no evidence: their variance is hardly known."""
ENOUGH_EFFECTIVE: Final = 3.0
"""The least effective number of cohorts: below it one user has most of an arm, and an arm's rate is his."""


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

    def minus(self, other: "CohortCounts") -> "CohortCounts":
        """Return what is left without `other`, which is a part of it."""
        return CohortCounts(
            frozen(self.n_test_by - other.n_test_by),
            frozen(self.x_test_by - other.x_test_by),
            frozen(self.n_stable_by - other.n_stable_by),
            frozen(self.x_stable_by - other.x_stable_by),
        )

    @property
    def excess(self) -> float:
        """The test arm's bad ones beyond those that it would have at stable's rate (0 where stable has nothing)."""
        return self.x_test - self.n_test * (self.x_stable / self.n_stable if self.n_stable else 0.0)

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
        return _limits(_score(self, Margin(), None), alpha, self.test_rate - self.stable_rate)

    def beyond(self, limit: float, alpha: float = DEFAULT_ALPHA) -> Interval:
        """Return the test arm's rate minus a limit in (0, 1), with limits as those of `interval`."""
        return _limits(_score(self, Margin(limit, 0.0), None), alpha, self.test_rate - limit)


@dataclass(frozen=True, slots=True)
class CohortTest:
    """The state of one test.

    side, margin: as in `rates.RateTest`. part: of the error, what a step may spend. log_e: ln(part/p) at the latest
    look; max_log_e: the greatest so far. saved: parts of looks that had no evidence.
    """

    side: Side
    margin: Margin
    part: float = 1.0
    log_e: float = 0.0
    max_log_e: float = 0.0
    saved: float = 0.0


def look(test: CohortTest, counts: CohortCounts, part: float) -> CohortTest:
    """Return the test after a look.

    counts: all that it judges. part: of the step's error, what this look may spend.
    """
    log_p = _log_p(test, counts)
    if log_p is None:
        return replace(test, saved=test.saved + part)
    log_e = math.log((test.saved + part) * test.part) - log_p
    return replace(test, log_e=log_e, max_log_e=max(test.max_log_e, log_e), saved=0.0)


def evidence(test: CohortTest, counts: CohortCounts) -> float | None:
    """Return ln(1/p) of these counts by themselves, of one look alone; None: there is none."""
    log_p = _log_p(test, counts)
    return None if log_p is None else -log_p


def expected(test: CohortTest, counts: CohortCounts, times: FloatArray, *, alike: bool) -> FloatArray | None:
    """Return ln(1/p) to expect of `times` as many counts, from as many times the keys; None: there is no evidence yet.

    times: any shape. alike: the versions are taken to be alike from here on, and not to go on as they were; against a
    limit they go on.
    """
    score = _score(counts, test.margin, test.side)
    if score is None:
        return None
    difference = score.difference
    if alike and not test.margin.is_limit:
        difference = (1.0 - test.margin.b) * counts.stable_rate - test.margin.a
    sign = 1.0 if test.side is Side.HARM else -1.0
    found: FloatArray = -student.logsf(sign * difference * np.sqrt(times / score.variance), score.freedom)
    return found


def enough(n: FloatArray) -> bool:
    """Return whether an arm's requests by cohort, (cohorts), come from keys enough to say anything."""
    total = float(n.sum())
    return int((n > 0).sum()) >= ENOUGH_COHORTS and total**2 >= ENOUGH_EFFECTIVE * float((n**2).sum())


def restart(test: CohortTest) -> CohortTest:
    """Return the test without evidence, and the parts of its looks as they are."""
    return replace(test, log_e=0.0, max_log_e=0.0)


def _log_p(test: CohortTest, counts: CohortCounts) -> float | None:
    score = _score(counts, test.margin, test.side)
    if score is None:
        return None
    sign = 1.0 if test.side is Side.HARM else -1.0
    return float(student.logsf(sign * score.difference / math.sqrt(score.variance), score.freedom))


@dataclass(frozen=True, slots=True)
class _Score:
    difference: float
    variance: float
    freedom: float


def _score(counts: CohortCounts, margin: Margin, side: Side | None) -> _Score | None:
    """How far the test arm lies beyond the line; None: too few cohorts have anything.

    side: of a test, whose variances are no less than at the line; None: of an estimate.
    """
    test = _ratio(counts.n_test_by, counts.x_test_by)
    stable = _ratio(counts.n_stable_by, counts.x_stable_by)
    if test is None or (stable is None and not margin.is_limit):
        return None
    # Of the arm itself too: its keys may differ more than the other's, of which nothing may be known.
    effect = max(one.effect for one in (test, stable) if one is not None)
    if stable is None or margin.is_limit:
        floor = 0.0 if side is None else effect * margin.a * (1.0 - margin.a) / counts.n_test
        return _Score(test.rate - margin.a, max(test.variance, floor), test.freedom)
    difference = test.rate - margin.a - margin.b * stable.rate
    floors = 0.0, 0.0
    if side is not None and (difference > 0.0) is (side is Side.HARM):
        share = counts.n_test / (counts.n_test + counts.n_stable)
        rates = (np.array([smoothed_rate(counts.n_test, counts.x_test)]), np.array([stable.smoothed]))
        # Of few requests the smoothed rates may lie on the line's other side.
        beyond = Side.HARM if rates[0][0] > margin.rate(rates[1])[0] else Side.NON_INFERIOR
        nearest_stable, nearest = project(beyond, margin, *rates, np.array([share]))
        floors = (
            effect * float(nearest[0] * (1.0 - nearest[0])) / counts.n_test,
            effect * float(nearest_stable[0] * (1.0 - nearest_stable[0])) / counts.n_stable,
        )
    variance = max(test.variance, floors[0])
    stable_variance = margin.b**2 * max(stable.variance, floors[1])
    total = variance + stable_variance
    return _Score(difference, total, total**2 / (variance**2 / test.freedom + stable_variance**2 / stable.freedom))


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A rate, and of its variance what else is asked.

    variance: no less than a binomial's. freedom: degrees of it. effect: how many times a binomial's it is. smoothed:
    the rate strictly inside (0, 1).
    """

    rate: float
    variance: float
    freedom: float
    effect: float
    smoothed: float


def _ratio(n: FloatArray, x: FloatArray) -> _Ratio | None:
    if not enough(n):
        return None
    cohorts, total = int((n > 0).sum()), float(n.sum())
    effective = total**2 / float((n**2).sum())
    rate = float(x.sum()) / total
    variance = cohorts / (cohorts - 1.0) * float(((x - rate * n) ** 2).sum()) / total**2
    smoothed = float(smoothed_rate(total, x.sum()))
    binomial = smoothed * (1.0 - smoothed) / total
    variance = max(variance, binomial)
    return _Ratio(rate, variance, effective - 1.0, variance / binomial, smoothed)


def _limits(score: _Score | None, alpha: float, difference: float) -> Interval:
    if score is None:
        return Interval(difference, math.nan, math.nan)
    radius = float(student.isf(GREAT_PART * alpha / 2.0, score.freedom)) * math.sqrt(score.variance)
    found = score.difference
    return Interval(found, max(found - radius, -1.0), min(found + radius, 1.0))
