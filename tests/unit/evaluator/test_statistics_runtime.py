"""Runtimes: expectation by exact enumeration, what adds up, and numbers that stay finite."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial

from evaluator.statistics import shapes
from evaluator.statistics.bets import Side
from evaluator.statistics.histograms import RuntimeWindows, shifted, smoothed
from evaluator.statistics.runtime import (
    ENOUGH_PAST,
    RuntimeTest,
    restart,
    runtime_harm_test,
    runtime_non_inferiority_test,
    seed,
    update,
)
from tests.unit.evaluator.runtimes import BUCKETS, RATIO, histogram, lognormal, with_past


def outcomes(observations: int, buckets: int) -> npt.NDArray[np.float64]:
    every = itertools.product(range(observations + 1), repeat=buckets)
    return np.array([counts for counts in every if sum(counts) == observations], dtype=float)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("past", [[10, 20, 5, 1, 0], [0, 0, 40, 0, 0], [1, 0, 0, 20, 19]])
def test_e_is_an_e_value_for_every_outcome_of_a_look(side: Side, past: list[int]) -> None:
    # 2 batches of the test arm and 3 of the control arm, over 5 buckets; a margin of one bucket.
    make = (
        runtime_harm_test(5, RATIO, 0.5, margin=1, agreeing_looks=1)
        if side is Side.HARM
        else runtime_non_inferiority_test(5, RATIO, margin=1)
    )
    test = seed(make, [(1, past)])
    arm, control = outcomes(2, 5), outcomes(3, 5)
    e = np.array(
        [
            [math.exp(update(test, RuntimeWindows((1,), c[np.newaxis], s[np.newaxis])).log_e) for s in control]
            for c in arm
        ]
    )
    rng = np.random.default_rng(3)
    for _ in range(40):
        stable = rng.dirichlet(rng.choice([0.3, 1.0, 5.0], 5))
        margin = shifted(stable[np.newaxis], 1)[0]
        if side is Side.HARM:
            # Mass moved down from the margin's distribution: at most as slow in stochastic order.
            null = margin.copy()
            moved = rng.uniform(0, null[1:]) * rng.integers(0, 2)
            null[1:] -= moved
            null[:-1] += moved
        else:
            # At least as slow beyond every cut.
            null = margin.copy()
            moved = rng.uniform(0, null[:-1]) * rng.integers(0, 2)
            null[:-1] -= moved
            null[1:] += moved
        chance = multinomial.pmf(arm, 2, null)[:, np.newaxis] * multinomial.pmf(control, 3, stable)
        assert (chance * e).sum() <= 1.0 + 1e-9


@pytest.mark.parametrize("past", [[30, 40, 20, 5, 2, 1, 1, 0, 0, 1], [0, 0, 0, 50, 0, 0, 0, 0, 0, 0], [0] * 9 + [40]])
def test_every_shape_bet_on_is_monotone(past: list[int]) -> None:
    # What makes the test one of stochastic order.
    logs = shapes.log_ratios(np.array([past], dtype=float), RATIO)
    assert logs.shape == (1, len(shapes.prior_weights()), 10)
    assert (np.diff(logs, axis=-1) >= -1e-12).all()
    assert np.isfinite(logs).all()


@pytest.mark.parametrize("slow", [0, 3, 15, 60])
def test_a_tilt_makes_the_past_slower_by_what_is_bet_even_where_a_few_batches_are_far_slower(slow: int) -> None:
    ratio = 2.0**0.125
    past = np.zeros((1, 60))
    past[0, 8:17] = (2, 16, 40, 76, 82, 69, 34, 16, 2)
    past[0, 34:40] = slow / 6.0
    tilts = np.log((np.exp(shapes.log_ratios(past, ratio)[0, :5]) - 0.05) / 0.95)
    shares, buckets = smoothed(past)[0], np.arange(60)
    moved = (shares * np.exp(tilts) * buckets).sum(axis=-1) - (shares * buckets).sum()
    assert moved == pytest.approx(np.log((1.05, 1.1, 1.2, 1.4, 1.8)) / math.log(ratio), abs=0.05)


def test_batch_sizes_and_instances_add_up_within_a_look() -> None:
    rng = np.random.default_rng(2)
    control = {batch: lognormal(batch**0.5) for batch in (1, 8)}
    test = runtime_harm_test(BUCKETS, RATIO, 0.001, late=0.0, agreeing_looks=1)
    test = seed(test, [(batch, histogram(times(rng, 500))) for batch, times in control.items()])
    rows = [
        (batch, histogram(1.3 * control[batch](rng, 10)), histogram(control[batch](rng, 10))) for batch in (8, 1, 8)
    ]
    one_by_one = [update(test, RuntimeWindows.of(BUCKETS, [row])) for row in rows]
    together = update(test, RuntimeWindows.of(BUCKETS, rows))
    assert together.process.looks == 1
    before = test.process.log_wealth[:-1]
    gains = sum(one.process.log_wealth[:-1] - before for one in one_by_one)
    assert together.process.log_wealth[:-1] == pytest.approx(before + gains)
    assert together.past.counts.sum() == 1000 + 30


@pytest.mark.parametrize("test", [runtime_harm_test(5, 2.0, 0.01), runtime_non_inferiority_test(5, 2.0)])
def test_windows_without_an_arm_or_a_past_are_no_evidence(test: RuntimeTest) -> None:
    some, none = [0, 3, 3, 0, 0], [0, 0, 0, 0, 0]
    empty = update(test, RuntimeWindows.of(5, [(1, none, none)]))
    assert (empty.log_e, empty.process.looks) == (0.0, 0)
    assert update(test, RuntimeWindows.of(5, [])).log_e == 0.0
    # A new batch size first has to be seen in the control arm.
    new = update(test, RuntimeWindows.of(5, [(1, [0, 0, 0, 0, 9], some)]))
    assert (new.log_e, float(new.past.counts.sum())) == (0.0, 6.0)
    known = seed(new, [(1, [0, ENOUGH_PAST, 0, 0, 0])])
    one_arm = update(known, RuntimeWindows.of(5, [(1, none, some), (1, [0, 0, 9, 0, 0], none)]))
    assert (one_arm.log_e, float(one_arm.past.counts.sum())) == (0.0, 12.0 + ENOUGH_PAST)
    assert update(known, RuntimeWindows.of(5, [(1, [0, 0, 0, 0, 9], some)])).log_e != 0.0


def test_a_cut_beyond_the_last_bucket_promotes_nobody() -> None:
    test = seed(runtime_non_inferiority_test(5, 2.0), [(1, [0, 0, 0, 0, 100])])
    after = update(test, RuntimeWindows.of(5, [(1, [0, 0, 0, 0, 500], [0, 0, 0, 0, 500])]))
    assert after.log_e == pytest.approx(0.0, abs=1e-12)


COUNTS = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10**12)), min_size=6, max_size=6)


@settings(max_examples=60, derandomize=True)
@given(past=COUNTS, rows=st.lists(st.tuples(st.sampled_from([1, 2, 64]), COUNTS, COUNTS), max_size=3))
def test_log_e_is_finite_whatever_is_counted(past: list[int], rows: list[tuple[int, list[int], list[int]]]) -> None:
    for fresh in (runtime_harm_test(6, RATIO, 0.01), runtime_non_inferiority_test(6, RATIO)):
        test = seed(fresh, [(1, past), (2, past)])
        for _ in range(2):
            test = update(test, RuntimeWindows.of(6, rows))
            assert math.isfinite(test.log_e)
            assert math.isfinite(test.max_log_e)


def test_folding_the_same_windows_gives_the_same_bits() -> None:
    def fold() -> tuple[float, float]:
        rng = np.random.default_rng(6)
        harm, fine = runtime_harm_test(BUCKETS, RATIO, 0.01), runtime_non_inferiority_test(BUCKETS, RATIO)
        for _ in range(20):
            rows = [(batch, histogram(lognormal()(rng, 9)), histogram(lognormal()(rng, 9))) for batch in (4, 1, 16)]
            harm, fine = (update(test, RuntimeWindows.of(BUCKETS, rows)) for test in (harm, fine))
        return harm.log_e, fine.log_e

    assert fold() == fold()


def test_a_restart_keeps_the_past_alone() -> None:
    test = with_past(runtime_non_inferiority_test(BUCKETS, RATIO), lognormal())
    row = 1, histogram(lognormal()(np.random.default_rng(1), 50)), histogram(lognormal()(np.random.default_rng(2), 50))
    after = update(test, RuntimeWindows.of(BUCKETS, [row]))
    again = restart(after)
    assert after.log_e != 0.0
    assert (again.log_e, again.max_log_e, float(again.past.counts.sum())) == (0.0, 0.0, 2050.0)
    assert again.process.log_wealth == pytest.approx(test.process.log_wealth)


@pytest.mark.parametrize("side", list(Side))
def test_many_rollouts_at_once_are_each_what_they_are_alone(side: Side) -> None:
    def fresh(shape: tuple[int, ...] = ()) -> RuntimeTest:
        if side is Side.HARM:
            return runtime_harm_test(BUCKETS, RATIO, 0.003, shape=shape)
        return runtime_non_inferiority_test(BUCKETS, RATIO, shape=shape)

    rng = np.random.default_rng(6)
    rollouts, batches = 3, (1, 1, 8)
    many, alone = fresh((rollouts,)), [fresh() for _ in range(rollouts)]
    for _ in range(12):
        test, control = (
            np.array([[histogram(times(rng, 20)) for _ in range(rollouts)] for _ in batches], dtype=float)
            for times in (lognormal(1.1), lognormal())
        )
        many = update(many, RuntimeWindows(batches, test, control))
        windows = [RuntimeWindows(batches, test[:, one], control[:, one]) for one in range(rollouts)]
        alone = [update(one, seen) for one, seen in zip(alone, windows, strict=True)]
        assert many.process.log_e == pytest.approx(np.array([one.log_e for one in alone]), abs=1e-12)
    assert many.process.max_log_e.max() > 0.0
    again = restart(many)
    assert again.process.log_e.tolist() == [0.0] * rollouts
    assert again.past.counts.tolist() == many.past.counts.tolist()
    with pytest.raises(ValueError, match=f"windows must have 3 by {BUCKETS} buckets, got {BUCKETS}"):
        update(many, windows[0])


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="ratio must be greater than 1"):
        runtime_harm_test(5, 1.0, 0.01)
    with pytest.raises(ValueError, match="margin must lie in 0 to 4 buckets"):
        runtime_harm_test(5, 2.0, 0.01, margin=5)
    with pytest.raises(ValueError, match="quantile"):
        runtime_non_inferiority_test(5, 2.0, quantile=1.0)
    with pytest.raises(ValueError, match="windows must have 5 buckets, got 6"):
        update(runtime_harm_test(5, 2.0, 0.01), RuntimeWindows.of(6, [(1, [0] * 6, [0] * 6)]))
    with pytest.raises(ValueError, match="past must have 5 buckets"):
        seed(runtime_harm_test(5, 2.0, 0.01), [(1, [1, 2, 3])])
