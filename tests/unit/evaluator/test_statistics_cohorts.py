"""Two rates by cohorts of keys: the formulas, their error rates under keys that fail together, and the looks."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator
from scipy.optimize import brentq
from scipy.stats import t as student

from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.cohorts import (
    ENOUGH_COHORTS,
    CohortCounts,
    CohortTest,
    enough,
    evidence,
    expected,
    look,
    restart,
)
from evaluator.statistics.process import log_threshold
from services.common.telemetry.catalog import COHORTS

LOOKS = 16


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
    # Stable's variance is taken at the line, which lies between both rates.
    expected = math.log(0.5) - student.logsf((test - 0.005 - stable) / math.sqrt(both), satterthwaite)
    assert 0.8 * expected < found.log_e <= expected
    assert seen.interval().estimate == pytest.approx(test - stable)
    assert seen.interval().low < test - stable < seen.interval().high


def test_the_nearest_point_of_the_line_lies_between_rates_that_smoothing_has_put_on_its_other_side() -> None:
    test, stable = (np.full(COHORTS, n) for n in (20.0, 16_000.0))
    failed = np.full(COHORTS, 15_679.0)
    n_test, n_stable, margin = 20 * COHORTS, 16_000 * COHORTS, 0.02
    tc, ts = (n_test + 0.5) / (n_test + 1), (failed.sum() + 0.5) / (n_stable + 1)
    difference = 1.0 - margin - failed.sum() / n_stable
    assert difference > 0.0 > tc - margin - ts
    share = n_test / (n_test + n_stable)

    def slope(s: float) -> float:
        c = s + margin
        return float(share * (c - tc) / (c * (1 - c)) + (1 - share) * (s - ts) / (s * (1 - s)))

    nearest = brentq(slope, tc - margin, ts, xtol=1e-15)
    both = [
        max(rate * (1 - rate) / n, line * (1 - line) / n)
        for rate, line, n in (
            (tc, nearest + margin, n_test),
            (ts, nearest, n_stable),
        )
    ]
    freedom = (COHORTS - 1) * sum(both) ** 2 / sum(one**2 for one in both)
    found = evidence(CohortTest(Side.HARM, Margin(margin)), CohortCounts(test, test, stable, failed))
    assert found == pytest.approx(-student.logsf(difference / math.sqrt(sum(both)), freedom), rel=1e-7)


@pytest.mark.parametrize("alike", [5.0, 50.0, 5_000.0])
def test_versions_alike_are_hardly_ever_taken_for_worse(alike: float) -> None:
    rng, alpha, wrong = np.random.default_rng(2), 0.05, 0
    for _ in range(400):
        test, total = CohortTest(Side.HARM, Margin()), CohortCounts.none(COHORTS)
        own = [rng.beta(0.1 * alike, 0.9 * alike, COHORTS) for _ in range(2)]
        for _ in range(LOOKS):
            sizes = [rng.poisson(20, COHORTS) for _ in range(2)]
            table = [part for n, rate in zip(sizes, own, strict=True) for part in (n, rng.binomial(n, rate))]
            total = total.plus(CohortCounts(*(np.asarray(part, dtype=float) for part in table)))
            test = look(test, total, 0.9 / LOOKS)
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


def test_what_is_expected_of_as_much_is_what_there_is_and_of_more_keys_more() -> None:
    seen, test = counts(np.random.default_rng(5), 20_000, (0.1, 0.1)), CohortTest(Side.NON_INFERIOR, Margin(0.01))
    found = expected(test, seen, np.array([1.0, 2.0, 4.0]), alike=False)
    assert found is not None
    assert found[0] == pytest.approx(evidence(test, seen))
    alike = expected(test, seen, np.array([1.0, 2.0, 4.0]), alike=True)
    assert alike is not None
    # The distance to the margin in standard errors grows with the root of the keys.
    freedom = 2 * (COHORTS - 1)
    scores = student.isf(np.exp(-alike), freedom)
    assert scores / scores[0] == pytest.approx([1.0, math.sqrt(2), 2.0], rel=0.02)
    limited = CohortTest(Side.NON_INFERIOR, Margin(0.2, 0.0))
    assert expected(limited, seen, np.array([1.0]), alike=True) == pytest.approx(evidence(limited, seen))
    assert expected(test, CohortCounts.none(COHORTS), np.array([1.0]), alike=True) is None


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
        assert look(test, seen, 1.0) == replace(test, saved=1.0)
    assert math.isnan(seen.interval().low)


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


def test_an_arm_whose_keys_are_few_or_unequal_says_nothing() -> None:
    alike, whale = np.full(COHORTS, 5.0), np.ones(COHORTS)
    whale[0] = 1e4
    assert enough(alike)
    assert not enough(whale)
    assert not enough(np.where(np.arange(COHORTS) < ENOUGH_COHORTS - 1, 5.0, 0.0))


def test_a_small_stable_arm_that_was_lucky_shows_no_harm() -> None:
    # One key in a hundred fails always; nearly all of them have the test version.
    rng, harmed = np.random.default_rng(6), 0
    sizes = np.full(COHORTS, 4_000.0), np.full(COHORTS, 40.0)
    for _ in range(400):
        failing = rng.binomial(4_000 // 40, 0.01, COHORTS) / 100.0, (rng.random(COHORTS) < 0.01).astype(float)
        parts = [(n, np.floor(n * rate)) for n, rate in zip(sizes, failing, strict=True)]
        seen = CohortCounts(*parts[0], *parts[1])
        harmed += look(CohortTest(Side.HARM, Margin()), seen, 1.0).log_e >= log_threshold(0.01)
    assert harmed <= 10


def test_a_look_without_evidence_leaves_its_part_to_the_next() -> None:
    seen = counts(np.random.default_rng(5), 50_000, (0.3, 0.1))
    test = CohortTest(Side.HARM, Margin())
    waited = look(look(test, CohortCounts.none(COHORTS), 0.1), seen, 0.2)
    assert waited.log_e == pytest.approx(look(test, seen, 0.3).log_e)
    assert waited.saved == 0.0
    found = evidence(test, seen)
    assert found is not None
    assert look(test, seen, 1.0).log_e == pytest.approx(found)
    assert evidence(test, CohortCounts.none(COHORTS)) is None


def test_a_restart_forgets_what_was_shown_and_keeps_what_was_saved() -> None:
    seen = counts(np.random.default_rng(5), 50_000, (0.3, 0.1))
    shown = look(CohortTest(Side.HARM, Margin(), saved=0.1), seen, 0.1)
    assert shown.max_log_e > 0
    begun = restart(look(shown, CohortCounts.none(COHORTS), 0.05))
    assert (begun.log_e, begun.max_log_e, begun.saved) == (0.0, 0.0, 0.05)
