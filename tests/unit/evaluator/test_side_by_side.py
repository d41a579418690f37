"""Tests of rates side by side: each one's numbers are what they would be alone."""

import numpy as np
import pytest
from numpy.random import Generator

from evaluator.statistics import rates
from evaluator.statistics.bets import Margin
from evaluator.statistics.rates import RateTest, RateWindows
from evaluator.statistics.side_by_side import Judged, update_each

MARGINS = (
    Margin(0.005),
    Margin(0.0005, 1.1),
    Margin(-0.01),
    Margin(0.02),
    Margin(0.0, 1.5),
    Margin(),
    Margin(0.1, 0.0),
)


def opened() -> list[RateTest]:
    """Every kind of test, with pasts from none to much."""
    found = [rates.superiority_test(0.0, 0.05), rates.superiority_test(0.01, 0.05)]
    for number, margin in enumerate(MARGINS):
        past = 40 * number**3
        found.append(rates.harm_test(margin, 0.004, past, past // 9, agreeing_looks=1 + number % 3))
        found.append(rates.non_inferiority_test(margin, past, past // 9))
    found.append(rates.harm_test_of_any(Margin(0.01), 0.01, 4))
    return found


def windows(random: Generator, test: RateTest, number: int) -> RateWindows:
    shape = (number, *test.n_past.shape)
    n_test, n_stable = random.integers(0, 80, shape), random.integers(0, 900, shape)
    # Of some looks one arm has nothing.
    n_test, n_stable = n_test * (random.random() > 0.2), n_stable * (random.random() > 0.2)
    counts = (n_test, random.binomial(n_test, 0.15), n_stable, random.binomial(n_stable, 0.1))
    return RateWindows(*(one.astype(np.float64) for one in counts))


def same(one: RateTest, other: RateTest) -> bool:
    pairs = (
        (one.n_past, other.n_past),
        (one.x_past, other.x_past),
        (one.process.log_wealth, other.process.log_wealth),
        (one.process.log_e, other.process.log_e),
        (one.process.max_log_e, other.process.max_log_e),
    )
    alike = (one.side, one.margin, one.cap, one.boost) == (other.side, other.margin, other.cap, other.boost)
    return alike and one.process.looks == other.process.looks and all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("seed", range(4))
def test_each_is_to_the_last_bit_what_it_would_be_alone(seed: int) -> None:
    random, tests = np.random.default_rng(seed), opened()
    moved = 0
    for look in range(25):
        judged = [
            Judged(test, windows(random, test, 1 + (look + place % 2) % 3), 1.0 + 0.3 * (place % 3))
            for place, test in enumerate(tests)
        ]
        alone = [rates.update(*one) for one in judged]
        after = update_each(judged)
        assert all(map(same, after, alone))
        moved += sum(one.process.looks > test.process.looks for one, test in zip(after, tests, strict=True))
        tests = after
    assert moved > 200


def test_states_cannot_be_changed_and_of_nothing_comes_nothing() -> None:
    random = np.random.default_rng(0)
    pair = [rates.harm_test(Margin(0.005), 0.01, 1_000, 100), rates.harm_test(Margin(0.02), 0.01, 1_000, 100)]
    for test in update_each([Judged(test, windows(random, test, 2)) for test in pair]):
        for array in (test.n_past, test.x_past, test.process.log_wealth, test.process.log_e, test.process.max_log_e):
            assert not array.flags.writeable
    assert update_each([]) == []
