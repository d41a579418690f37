"""Two rates by cohorts of keys: the formulas, their error rates under keys that fail together, and the looks."""

import math

import numpy as np
import pytest
from numpy.random import Generator
from scipy.stats import t as student

from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.cohorts import ENOUGH_COHORTS, CohortCounts, CohortTest, Schedule, look, restart
from evaluator.statistics.process import log_threshold

COHORTS = 200
PERIOD = [0.9 * part for part in (1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)]


def counts(rng: Generator, n: float, rates: tuple[float, float], alike: float = 50.0) -> CohortCounts:
    """A cohort has a rate of its own, drawn from a beta distribution."""
    table = []
    for rate in rates:
        sizes = rng.poisson(n / COHORTS, COHORTS)
        own = rng.beta(rate * alike, (1 - rate) * alike, COHORTS) if rate else np.zeros(COHORTS)
        table += [sizes.astype(float), rng.binomial(sizes, own).astype(float)]
    return CohortCounts(*table)


def test_the_evidence_is_that_of_two_ratios() -> None:
    seen = counts(np.random.default_rng(1), 20_000, (0.14, 0.1))
    parts = []
    for n, x in ((seen.n_test_by, seen.x_test_by), (seen.n_stable_by, seen.x_stable_by)):
        rate = x.sum() / n.sum()
        parts.append((rate, COHORTS / (COHORTS - 1) * ((x - rate * n) ** 2).sum() / n.sum() ** 2))
    (test, test_variance), (stable, stable_variance) = parts
    freedom = [total.sum() ** 2 / (total**2).sum() - 1 for total in (seen.n_test_by, seen.n_stable_by)]
    both = test_variance + stable_variance
    satterthwaite = both**2 / (test_variance**2 / freedom[0] + stable_variance**2 / freedom[1])
    found = look(CohortTest(Side.HARM, Margin(0.005)), seen, 0.5)
    # Keys differ so much more than binomially in both arms that the line's own variance is the lesser one.
    expected = math.log(0.5) - student.logsf((test - 0.005 - stable) / math.sqrt(both), satterthwaite)
    assert found.log_e == pytest.approx(expected, rel=0.02)
    assert seen.interval().estimate == pytest.approx(test - stable)
    assert seen.interval().low < test - stable < seen.interval().high


@pytest.mark.parametrize("alike", [5.0, 50.0, 5_000.0])
def test_versions_alike_are_hardly_ever_taken_for_worse(alike: float) -> None:
    rng, alpha, wrong = np.random.default_rng(2), 0.05, 0
    for _ in range(400):
        test, total = CohortTest(Side.HARM, Margin()), CohortCounts.none(COHORTS)
        own = [rng.beta(0.1 * alike, 0.9 * alike, COHORTS) for _ in range(2)]
        for _ in PERIOD:
            sizes = [rng.poisson(20, COHORTS) for _ in range(2)]
            table = [part for n, rate in zip(sizes, own, strict=True) for part in (n, rng.binomial(n, rate))]
            total = total.plus(CohortCounts(*(np.asarray(part, dtype=float) for part in table)))
            test = look(test, total, 0.9 / len(PERIOD))
        wrong += test.max_log_e >= log_threshold(alpha)
    # At most 20 are expected; more than 36 would be seen once in 1,000 times.
    assert wrong <= 36


def test_a_version_worse_by_the_margin_hardly_ever_passes_for_having_been_lucky() -> None:
    # Few keys fail, and those always: an arm that has none of them looks perfect.
    rng, passed = np.random.default_rng(3), 0
    for _ in range(400):
        failing = [(rng.random(COHORTS) < 0.01).astype(float) for _ in range(2)]
        sizes = np.full(COHORTS, 100.0)
        seen = CohortCounts(sizes, sizes * failing[0], sizes, sizes * failing[1])
        passed += look(CohortTest(Side.NON_INFERIOR, Margin()), seen, 1.0).log_e >= log_threshold(0.05)
    assert passed <= 36


def test_a_version_that_fails_everybody_shows_at_the_first_look() -> None:
    seen = CohortCounts(np.full(COHORTS, 3.0), np.full(COHORTS, 3.0), np.full(COHORTS, 60.0), np.zeros(COHORTS))
    assert look(CohortTest(Side.HARM, Margin(0.0005, 1.1)), seen, 0.1).log_e > 100


def test_one_user_is_no_evidence_however_often_he_comes() -> None:
    sizes, failed = np.ones(COHORTS), np.zeros(COHORTS)
    sizes[7] = failed[7] = 1e6
    seen = CohortCounts(sizes, failed, np.full(COHORTS, 100.0), np.zeros(COHORTS))
    assert look(CohortTest(Side.HARM, Margin()), seen, 1.0).log_e < log_threshold(0.01)


@pytest.mark.parametrize(
    "seen",
    [
        CohortCounts.none(COHORTS),
        CohortCounts(np.zeros(COHORTS), np.zeros(COHORTS), np.full(COHORTS, 9.0), np.zeros(COHORTS)),
        CohortCounts(np.full(COHORTS, 9.0), np.zeros(COHORTS), np.zeros(COHORTS), np.zeros(COHORTS)),
        CohortCounts(*(np.repeat((9.0, 0.0), (ENOUGH_COHORTS - 1, COHORTS - ENOUGH_COHORTS + 1)) for _ in range(4))),
    ],
)
def test_an_arm_of_few_cohorts_is_no_evidence(seen: CohortCounts) -> None:
    for side in Side:
        test = CohortTest(side, Margin(0.005))
        assert look(test, seen, 1.0) == test
    assert math.isnan(seen.interval().estimate)


@pytest.mark.parametrize("bad", [0.0, 1.0, 0.5])
def test_huge_counts_and_extreme_rates_stay_finite(bad: float) -> None:
    sizes = np.full(COHORTS, 1e12)
    for stable in (0.0, 1.0):
        seen = CohortCounts(sizes, np.floor(sizes * bad), sizes, sizes * stable)
        for side in Side:
            for margin in (Margin(), Margin(0.0005, 1.1), Margin(-0.02), Margin(0.1, 0.0)):
                assert not math.isnan(look(CohortTest(side, margin), seen, 0.1).log_e)
        interval = seen.interval()
        assert -1.0 <= interval.low <= interval.high <= 1.0


def test_counts_are_checked() -> None:
    zero, one = np.zeros(COHORTS), np.ones(COHORTS)
    with pytest.raises(ValueError, match="x_test must not exceed n_test"):
        CohortCounts(zero, one, zero, zero)
    with pytest.raises(ValueError, match="finite"):
        CohortCounts(zero * math.nan, zero, zero, zero)


def test_a_limit_is_held_against_the_test_arm_alone() -> None:
    seen = counts(np.random.default_rng(4), 50_000, (0.15, 0.5))
    assert look(CohortTest(Side.HARM, Margin(0.1, 0.0)), seen, 1.0).log_e > log_threshold(0.001)
    assert look(CohortTest(Side.NON_INFERIOR, Margin(0.2, 0.0)), seen, 1.0).log_e > log_threshold(0.001)
    assert seen.beyond(0.1).estimate == pytest.approx(seen.test_rate - 0.1)


def test_a_restart_keeps_what_was_once_shown() -> None:
    seen = counts(np.random.default_rng(5), 50_000, (0.3, 0.1))
    shown = look(CohortTest(Side.HARM, Margin()), seen, 0.1)
    assert restart(shown).log_e == 0.0
    assert restart(shown).max_log_e == shown.max_log_e > 0


def test_the_looks_of_all_times_share_one_error() -> None:
    spent, schedule, times = 0.0, Schedule(), 0
    for step in range(1, 200_000):
        part, schedule = schedule.due(step / 50)
        spent += part
        times += part > 0
    assert times == schedule.taken == len(PERIOD) + 12
    assert 0.99 < spent < 1.0
    assert schedule.following > 4_000


def test_looks_that_are_due_together_are_one() -> None:
    part, schedule = Schedule().due(0.5)
    assert schedule.taken == 5
    assert part == pytest.approx(5 * 0.9 / 7)
    assert schedule.due(0.6) == (0.0, schedule)
    assert schedule.following == pytest.approx(0.675)
