"""The mean of a bounded quantity against a limit: expectation by exact enumeration, crossing rates, bad input."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from evaluator.statistics.means import MeanTest, mean_growth, mean_harm_test, mean_safe_test, restart, update
from evaluator.statistics.power import needed, remaining
from evaluator.statistics.process import log_threshold

VALUES = np.array([0.0, 1.0, 3.0])
ALPHA = 0.05


def distributions(mean: float) -> list[list[float]]:
    """Shares of the three values with that mean, from the narrowest to the widest."""
    widest = [1 - mean / 3, 0.0, mean / 3]
    narrow = [1 - mean, mean, 0.0] if mean <= 1 else [0.0, (3 - mean) / 2, (mean - 1) / 2]
    return [narrow, widest, [(a + b) / 2 for a, b in zip(narrow, widest, strict=True)]]


@pytest.mark.parametrize("limit", [0.3, 1.0, 2.5])
def test_e_is_an_e_value_on_the_null_whatever_the_values_spread(limit: float) -> None:
    """Every outcome of three looks of two observations; the reserve moves and the burst guard binds."""
    looks = [np.bincount(pair, minlength=3).astype(float) for pair in itertools.product(range(3), repeat=2)]
    for opened, factors in (
        (mean_harm_test(VALUES, limit, 0.5), (1.0, 0.8, 0.2)),
        (mean_safe_test(VALUES, limit), (1.0, 1.1, 1.2)),
    ):
        for mean in (min(limit * factor, 3.0) for factor in factors):
            for shares in distributions(mean):
                chances = [shares[a] * shares[b] for a, b in itertools.product(range(3), repeat=2)]
                expected = crossed = 0.0
                for path in itertools.product(range(len(looks)), repeat=3):
                    chance = math.prod(chances[number] for number in path)
                    if not chance:
                        continue
                    test = opened
                    for number in path:
                        test = update(test, looks[number])
                    expected += chance * math.exp(test.log_e)
                    crossed += chance * (test.max_log_e >= log_threshold(0.5))
                assert expected <= 1.0 + 1e-9
                assert crossed <= 0.5 + 1e-9


def runs(opened: MeanTest, shares: list[float], per_look: int, looks: int, seed: int) -> list[int]:
    """The observations at which each of 200 tests crosses; more than all: never."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(200):
        test, at = opened, per_look * looks + 1
        for look in range(looks):
            test = update(test, rng.multinomial(per_look, shares).astype(float))
            if test.log_e >= log_threshold(ALPHA):
                at = per_look * (look + 1)
                break
        found.append(at)
    return found


@pytest.mark.parametrize("side", ["harm", "safe"])
def test_a_mean_at_the_limit_is_rarely_taken_for_either_side(side: str) -> None:
    shares = [0.5, 0.25, 0.25]
    opened = mean_harm_test(VALUES, 1.0, ALPHA) if side == "harm" else mean_safe_test(VALUES, 1.0)
    crossed = runs(opened, shares, 20, 60, seed=5)
    assert sum(at <= 1200 for at in crossed) <= binom.ppf(0.999, 200, ALPHA)


@pytest.mark.parametrize(
    ("opened", "shares"),
    [
        (mean_harm_test(VALUES, 1.0, ALPHA), [0.4, 0.25, 0.35]),
        (mean_safe_test(VALUES, 1.0), [0.7, 0.2, 0.1]),
    ],
)
def test_the_forecast_is_about_what_it_takes(opened: MeanTest, shares: list[float]) -> None:
    crossed = runs(opened, shares, 10, 200, seed=6)
    growth = mean_growth(opened, np.array(shares))
    enough = needed(opened.process, growth, ALPHA, 0.95)
    assert enough is not None
    assert sum(at <= enough for at in crossed) >= binom.ppf(0.001, 200, 0.93)
    expected = remaining(opened.process, growth, ALPHA)
    assert expected is not None
    assert np.median(crossed) <= 1.5 * expected <= 3 * np.median(crossed)


def test_three_looks_have_to_agree_on_harm() -> None:
    test = mean_harm_test(VALUES, 0.5, 0.01)
    for look in range(3):
        assert (test.max_log_e >= log_threshold(0.01)) is False, look
        test = update(test, np.array([0.0, 0.0, 10_000.0]))
    assert test.max_log_e >= log_threshold(0.01)


@pytest.mark.parametrize("count", [0.0, 1.0, 1e12])
def test_no_count_is_too_large(count: float) -> None:
    for test in (mean_harm_test(VALUES, 0.5, 0.01), mean_safe_test(VALUES, 0.5)):
        for row in ([count, 0, 0], [0, 0, count], [count, count, count]):
            assert math.isfinite(update(test, np.array(row, dtype=float)).log_e)


def test_evidence_is_divided_by_how_alike_rows_are() -> None:
    test = mean_safe_test(VALUES, 0.5)
    alone, alike = (update(test, np.array([9.0, 5.0, 1.0]), effect).process.log_wealth[:-1] for effect in (1.0, 4.0))
    before = test.process.log_wealth[:-1]
    assert alike - before == pytest.approx((alone - before) / 4.0)


def test_evidence_that_always_grows_alike_does_not_vary() -> None:
    assert mean_growth(mean_safe_test(VALUES, 0.5), np.array([1.0, 0.0, 0.0])).variance == pytest.approx(0.0, abs=1e-12)


def test_a_restart_forgets_the_evidence() -> None:
    test = update(mean_safe_test(VALUES, 0.5), np.array([50.0, 0.0, 0.0]))
    assert test.log_e > 1.0
    assert (restart(test).log_e, restart(test).process.looks) == (0.0, 0)


def test_what_cannot_be_judged_is_refused() -> None:
    for limit in (0.0, 3.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="limit"):
            mean_harm_test(VALUES, limit, 0.01)
    with pytest.raises(ValueError, match="values"):
        mean_safe_test(np.array([0.0, math.inf]), 0.5)
    with pytest.raises(ValueError, match="3 buckets"):
        update(mean_safe_test(VALUES, 0.5), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="counts must be at least 0"):
        update(mean_safe_test(VALUES, 0.5), np.array([1.0, -2.0, 0.0]))
