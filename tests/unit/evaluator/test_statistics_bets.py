import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from evaluator.statistics.bets import (
    Margin,
    Side,
    candidates,
    prior_weights,
    project,
    smoothed_rate,
)
from evaluator.statistics.wagers import log_bets

MARGINS = [Margin(), Margin(0.0005, 1.1), Margin(0.0025, 1.5), Margin(0.02, 1.0), Margin(-0.02, 1.0), Margin(0.1, 0.7)]


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("stable_rate", [0.001, 0.05, 0.4, 0.97])
@pytest.mark.parametrize(("n_test", "n_stable"), [(1, 1), (3, 4), (2, 9), (6, 1)])
def test_no_bet_has_an_expectation_above_one_in_its_null(
    side: Side, margin: Margin, stable_rate: float, n_test: int, n_stable: int
) -> None:
    x_test, x_stable = (grid.ravel().astype(float) for grid in np.mgrid[0 : n_test + 1, 0 : n_stable + 1])
    ones, known = np.ones(x_test.size), np.full(x_test.size, stable_rate)
    log_e = log_bets(side, margin, known, known, test=(n_test * ones, x_test), stable=(n_stable * ones, x_stable))
    theta = np.concatenate(([0.0, 1e-4, 1e-3, 0.005], np.linspace(0.01, 0.99, 25), [0.999, 1.0]))
    theta_test, theta_stable = (grid.ravel() for grid in np.meshgrid(theta, theta))
    # The line itself too, where the expectation is greatest.
    line = margin.rate(theta)
    on_line = (line >= 0) & (line <= 1)
    theta_test = np.concatenate((theta_test, line[on_line]))
    theta_stable = np.concatenate((theta_stable, theta[on_line]))
    distance = theta_test - margin.rate(theta_stable)
    null = distance <= 1e-15 if side is Side.HARM else distance >= -1e-15
    likelihood = binom.pmf(x_test, n_test, theta_test[null, np.newaxis]) * binom.pmf(
        x_stable, n_stable, theta_stable[null, np.newaxis]
    )
    expectations = (likelihood[:, :, np.newaxis] * np.exp(log_e)).sum(axis=1)
    assert expectations.max(initial=0.0) <= 1.0 + 1e-9


@settings(max_examples=150, derandomize=True)
@given(
    side=st.sampled_from(list(Side)),
    a=st.floats(-0.2, 0.3),
    b=st.floats(0.5, 3.0),
    stable_rate=st.floats(1e-4, 0.9999),
    share=st.floats(0.001, 0.999),
)
def test_the_projection_is_the_nearest_point_of_the_line(
    side: Side, a: float, b: float, stable_rate: float, share: float
) -> None:
    margin, known = Margin(a, b), np.array(stable_rate)
    rates = candidates(side, margin, known, known)
    rates = rates[~np.isnan(rates)]
    assume(rates.size > 0)
    s, c = project(side, margin, rates, known, np.array(share))
    assert c == pytest.approx(margin.rate(s), abs=1e-12)
    for rate, found in zip(rates, s, strict=True):

        def distance(at: float, rate: float = float(rate)) -> float:
            return share * entropy(rate, a + b * at) + (1 - share) * entropy(stable_rate, at)

        low, high = max(0.0, -a / b), min(1.0, (1 - a) / b)
        best = minimize_scalar(distance, bounds=(low, high), method="bounded", options={"xatol": 1e-13})
        assert distance(float(found)) <= best.fun + 1e-10


def entropy(p: float, q: float) -> float:
    if not 0.0 < q < 1.0:
        return math.inf
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_an_equal_line_has_the_pooled_rate_as_projection() -> None:
    s, c = project(Side.HARM, Margin(), np.array([0.1]), np.array([0.02]), np.array([0.25]))
    almost, _ = project(Side.HARM, Margin(1e-12, 1.0), np.array([0.1]), np.array([0.02]), np.array([0.25]))
    assert (s[0], c[0]) == (pytest.approx(0.04), pytest.approx(0.04))
    assert almost[0] == pytest.approx(0.04, rel=1e-9)


def test_a_known_likelihood_ratio() -> None:
    # Margin zero, ts = .02, tc = .02*2: 1 of 10 and 3 of 90; both projected on .022.
    known = np.array(0.02)
    found = log_bets(
        Side.HARM, Margin(), known, known, test=(np.array(10.0), np.array(1.0)), stable=(np.array(90.0), np.array(3.0))
    )
    expected = (
        math.log(0.04 / 0.022) + 9 * math.log(0.96 / 0.978) + 3 * math.log(0.02 / 0.022) + 87 * math.log(0.98 / 0.978)
    )
    assert found[2] == pytest.approx(expected, rel=1e-9)


def test_candidates_lie_beyond_the_line_and_inside_the_unit_interval() -> None:
    known = np.array([0.004, 0.5, 0.999])
    for margin in MARGINS:
        line = margin.rate(known)[:, np.newaxis]
        harm = candidates(Side.HARM, margin, known, known)
        fine = candidates(Side.NON_INFERIOR, margin, known, known)
        assert (np.isnan(harm) | ((harm > line) & (harm < 1))).all()
        assert (np.isnan(fine) | ((fine < line) & (fine > 0))).all()
    assert candidates(Side.NON_INFERIOR, Margin(0.01, 1.0), known, known)[:, -1] == pytest.approx(known)
    assert np.isnan(candidates(Side.NON_INFERIOR, Margin(), known, known)[:, -1]).all()
    assert np.isnan(candidates(Side.HARM, Margin(0.5, 1.0), np.array([0.9]), np.array([0.9]))).all()


def test_bets_are_on_multiples_of_the_lines_rate_and_on_steps_from_it() -> None:
    known, alike, none = np.array(0.3), np.array(0.25), math.nan
    harm = [0.375, 0.45, 0.6, 0.9, none, none, none, 0.31, 0.32, 0.33, 0.35, 0.4, 0.5]
    assert candidates(Side.HARM, Margin(), known, alike) == pytest.approx(harm, nan_ok=True)
    fine = [0.24, 0.2, 0.15, 0.1, 0.06, 0.03, 0.015, 0.29, 0.28, 0.27, 0.25, 0.2, 0.1, 0.25]
    assert candidates(Side.NON_INFERIOR, Margin(), known, alike) == pytest.approx(fine)


def test_a_rate_is_known_as_if_half_a_request_more_had_failed_and_half_had_not() -> None:
    assert smoothed_rate([0, 9, 9], [0, 2, 9]) == pytest.approx([0.5, 0.25, 0.95])


@pytest.mark.parametrize("side", list(Side))
def test_prior_weights_are_one_per_candidate_and_sum_to_one(side: Side) -> None:
    weights = prior_weights(side)
    assert weights.shape == candidates(side, Margin(), np.array(0.1), np.array(0.1)).shape
    assert weights.sum() == pytest.approx(1.0)


COUNT = st.one_of(st.integers(0, 3), st.integers(0, 10**12))


@settings(max_examples=200, derandomize=True)
@given(
    side=st.sampled_from(list(Side)),
    margin=st.sampled_from(MARGINS),
    past=st.tuples(COUNT, COUNT).map(sorted),
    test=st.tuples(COUNT, COUNT).map(sorted),
    stable=st.tuples(COUNT, COUNT).map(sorted),
)
def test_every_count_gives_a_finite_bet(
    side: Side, margin: Margin, past: list[int], test: list[int], stable: list[int]
) -> None:
    known = smoothed_rate(past[1], past[0])
    (x_c, n_c), (x_s, n_s) = (np.array(test, dtype=float), np.array(stable, dtype=float))
    found = log_bets(side, margin, known, known, test=(n_c, x_c), stable=(n_s, x_s))
    assert np.isfinite(found).all()
    if n_c == 0 or n_s == 0:
        assert (found == 0.0).all()


@settings(max_examples=100, derandomize=True)
@given(
    margin=st.sampled_from(MARGINS),
    stable_rate=st.floats(0.001, 0.6),
    n=st.integers(1, 1000),
    x=st.integers(0, 1000),
    x_stable=st.integers(0, 950),
)
def test_one_more_failure_of_the_test_arm_never_speaks_for_it(
    margin: Margin, stable_rate: float, n: int, x: int, x_stable: int
) -> None:
    assume(x < n)
    known = np.array(stable_rate)
    stable = np.array(950.0), np.array(float(x_stable))
    for side, sign in ((Side.HARM, 1.0), (Side.NON_INFERIOR, -1.0)):
        fewer, more = (
            log_bets(side, margin, known, known, test=(np.array(float(n)), np.array(float(bad))), stable=stable)
            for bad in (x, x + 1)
        )
        assert (sign * (more - fewer) >= -1e-9).all()


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.5, -1.0), (-1.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_lines_that_miss_the_unit_square_are_refused(a: float, b: float) -> None:
    with pytest.raises(ValueError, match="a margin"):
        Margin(a, b)


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1])
def test_a_limit_that_no_rate_can_be_on_both_sides_of_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="a limit"):
        Margin(limit, 0.0)
