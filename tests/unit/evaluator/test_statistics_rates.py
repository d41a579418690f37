import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import (
    ENOUGH_PAST,
    RateTest,
    RateWindows,
    harm_test,
    harm_test_of_any,
    non_inferiority_test,
    restart,
    update,
)

ERRORS, ERRORS_FINE = Margin(0.0005, 1.1), Margin(0.0025, 1.5)
QUALITY, QUALITY_FINE = Margin(0.005, 1.0), Margin(0.02, 1.0)
ALPHA, ALPHA_PROMOTE = 0.01, 0.05

# n_test, n_stable, theta_test, theta_stable of a look.
Plan = Callable[[int], tuple[int, int, float, float]]


def steady(theta_test: float, theta_stable: float) -> Plan:
    return lambda look: (50, 950, theta_test, theta_stable)


def ramp_with_incident(theta_stable: float, margin: Margin) -> Plan:
    """1, 5, then 25 % of the requests, with a stretch of both arms' rates eight times as high late in the test."""

    def plan(look: int) -> tuple[int, int, float, float]:
        n_test = (10, 50, 250)[min(look // 40, 2)]
        stable = theta_stable * (8.0 if 85 <= look < 95 else 1.0)
        return n_test, 1000 - n_test, margin.a + margin.b * stable, stable

    return plan


def simulate(test: RateTest, plan: Plan, looks: int, seed: int) -> npt.NDArray[np.float64]:
    """Return per run the test arm's requests at the first crossing, infinity without one."""
    rng = np.random.default_rng(seed)
    runs = test.n_past.shape[0]
    first = np.full(runs, np.inf)
    requests = 0
    for look in range(looks):
        n_test, n_stable, theta_test, theta_stable = plan(look)
        ones = np.ones((1, runs))
        x_test = rng.binomial(n_test, theta_test, (1, runs)).astype(float)
        x_stable = rng.binomial(n_stable, theta_stable, (1, runs)).astype(float)
        test = update(test, RateWindows(n_test * ones, x_test, n_stable * ones, x_stable))
        requests += n_test
        log_e, alpha = (
            (test.process.max_log_e, ALPHA) if test.side is Side.HARM else (test.process.log_e, ALPHA_PROMOTE)
        )
        first = np.where((log_e >= log_threshold(alpha)) & np.isinf(first), requests, first)
        if np.isfinite(first).all():
            break
    return first


def past(runs: int, rate: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.full(runs, 5000), np.random.default_rng(7).binomial(5000, rate, runs)


def at_most(alpha: float, runs: int) -> float:
    """A share of crossings that a test of level alpha exceeds in one of 1,000 simulations at most."""
    return float(binom.ppf(0.999, runs, alpha)) / runs


def test_e_stays_an_e_value_through_looks_that_learn_and_are_capped() -> None:
    # Every outcome of three looks of 2 + 3 requests, the past growing with them; the burst guard binds.
    outcomes = np.array(list(itertools.product(range(3), range(4))), dtype=float)
    paths = np.array(list(itertools.product(range(len(outcomes)), repeat=3)))
    shape = (len(paths),)
    full = np.ones((1, *shape))
    for side, margin in itertools.product(Side, (Margin(), ERRORS, QUALITY_FINE, Margin(0.05, 0.8))):
        n, x = np.full(shape, 120), np.full(shape, 20)
        test = harm_test(margin, 0.5, n, x) if side is Side.HARM else non_inferiority_test(margin, n, x)
        for look in range(3):
            seen = outcomes[paths[:, look]]
            test = update(test, RateWindows(2 * full, seen[np.newaxis, :, 0], 3 * full, seen[np.newaxis, :, 1]))
        for theta_stable in (0.0, 0.02, 0.16, 0.5, 0.9):
            edge = margin.a + margin.b * theta_stable
            for theta_test in (edge, 0.9 * edge, 0.5 * edge) if side is Side.HARM else (edge, 1.1 * edge, 1.0):
                if theta_test > 1.0:
                    continue
                chance = binom.pmf(outcomes[:, 0], 2, theta_test) * binom.pmf(outcomes[:, 1], 3, theta_stable)
                weights = chance[paths].prod(axis=1)
                assert (weights * np.exp(test.process.log_e)).sum() <= 1.0 + 1e-9
                for alpha in (0.5, 0.7, 0.9):
                    assert weights[test.process.max_log_e >= log_threshold(alpha)].sum() <= alpha + 1e-9


@pytest.mark.parametrize(("rate", "margin"), [(0.005, Margin()), (0.005, ERRORS), (0.08, QUALITY)])
def test_versions_at_the_edge_of_harm_are_rarely_rolled_back(rate: float, margin: Margin) -> None:
    runs = 300
    crossed = simulate(
        harm_test(margin, ALPHA, *past(runs, rate)), ramp_with_incident(rate, margin), looks=120, seed=11
    )
    assert np.isfinite(crossed).mean() <= at_most(ALPHA, runs)


@pytest.mark.parametrize(("rate", "margin"), [(0.005, ERRORS_FINE), (0.08, QUALITY_FINE)])
def test_versions_worse_by_the_margin_are_rarely_promoted(rate: float, margin: Margin) -> None:
    runs = 300
    crossed = simulate(
        non_inferiority_test(margin, *past(runs, rate)), ramp_with_incident(rate, margin), looks=120, seed=12
    )
    assert np.isfinite(crossed).mean() <= at_most(ALPHA_PROMOTE, runs)


@pytest.mark.parametrize(
    ("margin", "looks", "thetas", "bound", "times"),
    [
        (Margin(), 1, (0.02, 0.005), 392, 1.38),
        (Margin(), 1, (0.11, 0.08), 882, 1.35),
        (Margin(), 3, (0.02, 0.005), 392, 1.85),
        (Margin(), 3, (0.11, 0.08), 882, 1.45),
        (ERRORS, 3, (0.02, 0.005), 392, 2.1),
    ],
)
def test_harm_is_found_within_a_small_multiple_of_the_bound(
    margin: Margin, looks: int, thetas: tuple[float, float], bound: float, times: float
) -> None:
    # At 50 requests a look two failures in one look already meet the burst guard of three looks.
    test = harm_test(margin, ALPHA, *past(2_000, thetas[1]), agreeing_looks=looks)
    crossed = simulate(test, steady(*thetas), looks=720, seed=13)
    assert crossed.mean() <= times * bound


@pytest.mark.parametrize(("margin", "rate", "requests"), [(ERRORS_FINE, 0.005, 2_033), (QUALITY_FINE, 0.08, 1_317)])
def test_a_version_like_the_stable_one_passes_in_time(margin: Margin, rate: float, requests: float) -> None:
    # `requests` is ln(20) by the best bet's growth: what nobody can fall short of on average.
    crossed = simulate(non_inferiority_test(margin, *past(200, rate)), steady(rate, rate), looks=720, seed=14)
    assert crossed.mean() <= 1.3 * requests


def test_harm_that_begins_after_an_hour_is_found_in_minutes() -> None:
    def late(look: int) -> tuple[int, int, float, float]:
        return 50, 950, 0.005 if look < 200 else 0.05, 0.005

    kept, spent = (
        simulate(harm_test(ERRORS, ALPHA, *past(50, 0.005), late=share), late, looks=720, seed=15) - 200 * 50
        for share in (0.1, 0.0)
    )
    assert kept.min() > 0
    assert np.median(kept) <= 600 < np.median(spent)


def test_one_burst_is_not_enough_and_three_are() -> None:
    test = harm_test(ERRORS, 0.004, 10_000, 50)
    for look in (1, 2, 3):
        test = update(test, RateWindows.of([(500, 500, 9500, 50)]))
        assert (test.max_log_e >= log_threshold(0.004)) == (look == 3)


def test_the_first_windows_only_feed_an_empty_past() -> None:
    test = harm_test(Margin(), ALPHA)
    test = update(test, RateWindows.of([(10, 10, ENOUGH_PAST - 1, 0)]))
    test = update(test, RateWindows.of([(10, 10, 1, 0)]))
    assert (test.log_e, float(test.n_past)) == (0.0, ENOUGH_PAST)
    assert update(test, RateWindows.of([(10, 10, 100, 0)])).log_e > 0.0


@pytest.mark.parametrize("row", [(0, 0, 0, 0), (0, 0, 500, 3), (40, 4, 0, 0)])
def test_a_window_without_one_arm_is_no_evidence(row: tuple[int, int, int, int]) -> None:
    for test in (harm_test(ERRORS, ALPHA, 1000, 5), non_inferiority_test(ERRORS_FINE, 1000, 5)):
        after = update(test, RateWindows.of([row]))
        assert (after.log_e, after.max_log_e, after.process.looks) == (0.0, 0.0, 0)
        assert (float(after.n_past), float(after.x_past)) == (1000 + row[2], 5 + row[3])
        assert update(test, RateWindows.of([])).log_e == 0.0


def test_windows_of_one_look_multiply() -> None:
    test = non_inferiority_test(QUALITY_FINE, 10_000, 800)
    rows = [(40, 3, 700, 50), (20, 1, 650, 60), (0, 0, 10, 1)]
    together = update(test, RateWindows.of(rows))
    assert together.process.looks == 1
    before = test.process.log_wealth[:-1]
    gains = sum(update(test, RateWindows.of([row])).process.log_wealth[:-1] - before for row in rows)
    assert together.process.log_wealth[:-1] == pytest.approx(before + gains)
    assert update(test, RateWindows.of(rows[::-1])).log_e == pytest.approx(together.log_e, rel=1e-12)


def test_evidence_is_divided_by_how_alike_rows_are() -> None:
    test = non_inferiority_test(QUALITY_FINE, 10_000, 800)
    windows = RateWindows.of([(40, 3, 700, 50)])
    alone, alike = (update(test, windows, effect).process.log_wealth[:-1] for effect in (1.0, 4.0))
    before = test.process.log_wealth[:-1]
    assert alike - before == pytest.approx((alone - before) / 4.0)


def test_folding_the_same_windows_gives_the_same_bits() -> None:
    rng = np.random.default_rng(5)
    looks = [
        [(50, int(rng.binomial(50, 0.02)), 950, int(rng.binomial(950, 0.01))) for _ in range(3)] for _ in range(40)
    ]

    def fold() -> tuple[float, float, float]:
        harm, fine = harm_test(ERRORS, 0.004), non_inferiority_test(ERRORS_FINE)
        for rows in looks:
            harm, fine = update(harm, RateWindows.of(rows)), update(fine, RateWindows.of(rows))
        return harm.log_e, harm.max_log_e, fine.log_e

    assert fold() == fold()


@pytest.mark.parametrize("test", [harm_test(ERRORS, 0.004, 1000, 5), non_inferiority_test(ERRORS, 1000, 5)])
def test_a_restart_keeps_the_past_alone(test: RateTest) -> None:
    after = update(test, RateWindows.of([(50, 20, 950, 5)]))
    again = restart(after)
    assert (again.log_e, again.max_log_e, again.process.looks) == (0.0, 0.0, 0)
    assert (float(again.n_past), again.cap, again.margin) == (1950.0, test.cap, ERRORS)
    assert again.process.log_wealth.tolist() == test.process.log_wealth.tolist()


COUNT = st.one_of(st.integers(0, 3), st.integers(0, 10**12))
ARM = st.tuples(COUNT, COUNT).map(lambda pair: (max(pair), min(pair)))


@settings(max_examples=60, derandomize=True)
@given(seed=ARM, looks=st.lists(st.lists(st.tuples(ARM, ARM), max_size=2), max_size=4))
def test_log_e_is_finite_whatever_is_counted(
    seed: tuple[int, int], looks: list[list[tuple[tuple[int, int], tuple[int, int]]]]
) -> None:
    for test in (harm_test(ERRORS, 0.004, *seed), non_inferiority_test(QUALITY_FINE, *seed)):
        state = test
        for rows in looks:
            state = update(state, RateWindows.of([(*arm, *stable) for arm, stable in rows]))
            assert math.isfinite(state.log_e)
            assert math.isfinite(state.max_log_e)
            assert state.max_log_e >= 0.0


def test_any_of_several_rates_in_many_rollouts_at_once_is_what_it_is_alone() -> None:
    rng = np.random.default_rng(4)
    rollouts, shares = 3, 4
    many = harm_test_of_any(QUALITY, ALPHA, shares, shape=(rollouts,))
    alone = [harm_test_of_any(QUALITY, ALPHA, shares) for _ in range(rollouts)]
    for _ in range(10):
        n_test, n_stable = np.full((2, rollouts, shares), 40.0), np.full((2, rollouts, shares), 400.0)
        x_test = rng.binomial(40, 0.15, n_test.shape).astype(float)
        x_stable = rng.binomial(400, 0.1, n_stable.shape).astype(float)
        many = update(many, RateWindows(n_test, x_test, n_stable, x_stable))
        for one in range(rollouts):
            windows = RateWindows(n_test[:, one], x_test[:, one], n_stable[:, one], x_stable[:, one])
            alone[one] = update(alone[one], windows)
            assert float(many.process.log_e[one]) == pytest.approx(float(alone[one].process.log_e), abs=1e-12)
    assert many.process.max_log_e.min() > 1.0


def test_a_superiority_test_needs_the_margin_and_not_just_a_lead() -> None:
    better = non_inferiority_test(Margin(-0.02, 1.0), 10_000, 1000)
    lead = better
    for _ in range(200):
        better = update(better, RateWindows.of([(500, 25, 500, 50)]))
        lead = update(lead, RateWindows.of([(500, 41, 500, 50)]))
    assert better.log_e > log_threshold(0.01) > 0.0 > lead.log_e


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((5, 6, 10, 0), r"x_test must not exceed n_test, got 6\.0 of 5\.0"),
        ((5, 0, 10, 11), "x_stable must not exceed n_stable"),
        ((-1, 0, 10, 0), "counts must be at least 0"),
        ((5, 0, math.nan, 0), "counts must be finite"),
        ((5, 0.5, 10, 0), "counts must be whole numbers"),
    ],
)
def test_bad_windows_are_refused(row: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RateWindows.of([row])


def test_bad_pasts_shapes_and_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="x_past must not exceed n_past"):
        harm_test(ERRORS, 0.01, 10, 11)
    with pytest.raises(ValueError, match="alpha"):
        harm_test(ERRORS, 0.0)
    with pytest.raises(ValueError, match="shape"):
        update(harm_test(ERRORS, 0.01), RateWindows(*np.ones((4, 1, 2))))
