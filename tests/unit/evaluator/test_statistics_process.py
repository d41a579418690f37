import itertools
import math

import numpy as np
import pytest

from evaluator.statistics.process import EProcess, advance, log_sum_exp, log_threshold, look_cap, open_process

# Two candidates' bets on a coin that is fair under the null: each has expectation exactly 1.
COIN = np.log(np.array([[1.5, 1.9], [0.5, 0.1]]))


def follow(outcomes: tuple[int, ...], reserve: float, cap: float) -> EProcess:
    process = open_process(np.array([1.0, 3.0]), reserve)
    for outcome in outcomes:
        process = advance(process, COIN[outcome], cap)
    return process


@pytest.mark.parametrize("reserve", [0.0, 0.1, 0.5])
def test_the_expectation_of_a_fair_game_is_one_with_any_reserve(reserve: float) -> None:
    paths = list(itertools.product((0, 1), repeat=6))
    total = sum(math.exp(float(follow(path, reserve, math.inf).log_e)) for path in paths)
    assert total / len(paths) == pytest.approx(1.0, abs=1e-12)


def test_a_cap_only_gives_away() -> None:
    paths = list(itertools.product((0, 1), repeat=6))
    capped = [math.exp(float(follow(path, 0.1, 0.3).log_e)) for path in paths]
    assert 0.3 < sum(capped) / len(paths) < 1.0
    for path in paths:
        before, after = follow(path[:-1], 0.1, 0.3), follow(path, 0.1, 0.3)
        assert after.log_e <= advance(before, COIN[path[-1]]).log_e + 1e-12


def test_a_capped_look_raises_all_wealth_alike() -> None:
    before = advance(open_process(np.array([1.0, 3.0]), 0.2), np.array([-0.5, 0.1]))
    after = advance(before, np.array([500.0, -2.0]), 1.0)
    gain = float(after.log_e) - float(before.log_e)
    assert float(after.log_e) == max(float(before.log_e), 0.0) + 1.0
    # But for the third of the reserve that moves to the candidates, as after any look.
    kept = before.log_wealth[-1] + gain
    assert after.log_wealth[-1] == pytest.approx(kept + math.log(2 / 3))
    moved = np.exp(kept - math.log(3.0)) * np.array([0.25, 0.75])
    assert np.exp(after.log_wealth[:-1]) == pytest.approx(np.exp(before.log_wealth[:-1] + gain) + moved)


def test_a_look_beyond_the_cap_hides_nothing_of_what_comes_after_it() -> None:
    def looks_until(bets: list[np.ndarray]) -> int:
        process = open_process(np.ones(2), 0.1)
        for look, bet in enumerate(bets, start=1):
            process = advance(process, bet, look_cap(0.01))
            if float(process.max_log_e) >= log_threshold(0.01):
                return look
        return len(bets) + 1

    # The first candidate's bet is on what a burst is like, the second's on a harm that goes on.
    calm, burst = np.array([-6.0, 0.2]), np.array([300.0, 40.0])
    assert looks_until([calm] * 60) <= 30
    assert looks_until([burst] + [calm] * 60) <= 30


def test_wealth_is_spread_over_candidates_and_reserve() -> None:
    process = open_process(np.array([1.0, 3.0]), 0.2)
    assert np.exp(process.log_wealth) == pytest.approx([0.2, 0.6, 0.2])
    assert float(process.log_e) == 0.0
    # A look that says nothing moves half of the reserve, by the prior weights, and leaves the sum as it was.
    process = advance(process, np.zeros(2))
    assert np.exp(process.log_wealth) == pytest.approx([0.225, 0.675, 0.1])
    assert float(process.log_e) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.004, 0.00123])
def test_exactly_three_capped_looks_reach_the_threshold(alpha: float) -> None:
    process = open_process(np.ones(2), 0.1)
    for look in (1, 2, 3):
        process = advance(process, np.array([500.0, 0.0]), look_cap(alpha))
        assert (float(process.max_log_e) >= log_threshold(alpha)) == (look == 3)


def test_the_cap_counts_from_one_where_wealth_was_lost() -> None:
    process = advance(open_process(np.ones(2)), np.array([-40.0, -50.0]), 1.0)
    process = advance(process, np.array([100.0, 0.0]), 1.0)
    assert float(process.log_e) == pytest.approx(1.0)


def test_harm_that_begins_late_is_seen_from_the_reserve() -> None:
    def after_calm(reserve: float) -> int:
        process = open_process(np.ones(1), reserve)
        for _ in range(300):
            process = advance(process, np.array([-1.0]))
        for look in range(1, 1000):
            process = advance(process, np.array([1.0]))
            if float(process.max_log_e) >= log_threshold(0.01):
                return look
        return 1000

    assert after_calm(0.0) > 300
    # ln 100, and what the reserve that starts around then is short of 1.
    assert after_calm(0.1) <= math.ceil(math.log(100) + math.log(300 * 301 / 0.1))


def test_the_maximum_stays_and_the_state_does_not_change() -> None:
    first = advance(open_process(np.ones(2)), np.array([3.0, 3.0]))
    second = advance(first, np.array([-5.0, -5.0]))
    assert float(first.log_e) == pytest.approx(3.0)
    assert float(second.max_log_e) == pytest.approx(3.0)
    assert float(second.log_e) == pytest.approx(-2.0)
    with pytest.raises(ValueError, match="read-only"):
        first.log_wealth[0] = 0.0


def test_log_sum_exp_survives_what_exp_does_not() -> None:
    values = np.array([[-1e12, -1e12 + 1.0], [1e11, -math.inf]])
    assert log_sum_exp(values) == pytest.approx([-1e12 + math.log1p(math.e), 1e11])


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_levels_outside_the_unit_interval_are_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
        log_threshold(alpha)


def test_bad_weights_reserves_and_looks_are_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        open_process(np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="reserve"):
        open_process(np.ones(2), 1.0)
    with pytest.raises(ValueError, match="looks"):
        look_cap(0.01, 0)
