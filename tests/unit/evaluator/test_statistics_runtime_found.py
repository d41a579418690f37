"""Runtimes drawn at random: what is found, how soon, and how often wrongly."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from evaluator.statistics.histograms import RuntimeWindows
from evaluator.statistics.process import log_threshold
from evaluator.statistics.runtime import (
    cut_of,
    runtime_harm_test,
    runtime_non_inferiority_test,
    runtime_tail_test,
    seed,
    update,
)
from tests.unit.evaluator.runtimes import BUCKETS, RATIO, batches_until, histogram, lognormal, with_past


@pytest.mark.parametrize(
    ("factor", "margin", "times"),
    # `times`: of the two-sample bound for known log-normal times that spread over 35 %.
    [(1.1, 0, 1.7), (1.3, 0, 2.2), (1.3, 1, 2.0), (2.0, 1, 4.0)],
)
def test_a_slower_version_is_found_within_a_small_multiple_of_the_bound(
    factor: float, margin: int, times: float
) -> None:
    beyond = math.log(factor) - margin * math.log(RATIO)
    bound = math.log(100) / (beyond**2 / (4 * 0.35**2))
    test = with_past(runtime_harm_test(BUCKETS, RATIO, 0.01, margin, agreeing_looks=1), lognormal())
    found = [batches_until(test, lognormal(factor), lognormal(), alpha=0.01, looks=200, seed_=run) for run in range(20)]
    assert np.mean(found) <= times * bound


def test_a_slow_path_taken_by_few_batches_is_found() -> None:
    def slow_path(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
        return lognormal()(rng, n) * np.where(rng.random(n) < 0.03, 10.0, 1.0)

    test = with_past(runtime_harm_test(BUCKETS, RATIO, 0.01, agreeing_looks=1), lognormal())
    found = [batches_until(test, slow_path, lognormal(), alpha=0.01, looks=200, seed_=run) for run in range(10)]
    # ln(100) by the divergence of the two-sample mixture, about .021 per batch.
    assert np.mean(found) <= 3 * 219


@pytest.mark.parametrize("deviation", [0.02, 0.35])
def test_a_version_slower_by_the_margin_is_rarely_rolled_back(deviation: float) -> None:
    test = with_past(runtime_harm_test(BUCKETS, RATIO, 0.05, agreeing_looks=1), lognormal(1.0, deviation))
    slower, control = lognormal(RATIO, deviation), lognormal(1.0, deviation)
    found = [batches_until(test, slower, control, alpha=0.05, looks=25, seed_=run) for run in range(25)]
    assert np.isfinite(found).sum() <= binom.ppf(0.999, 25, 0.05)


@pytest.mark.parametrize("deviation", [0.02, 0.35])
def test_a_version_slower_by_two_buckets_is_rarely_promoted(deviation: float) -> None:
    test = with_past(runtime_non_inferiority_test(BUCKETS, RATIO), lognormal(1.0, deviation))
    slower, control = lognormal(RATIO**2, deviation), lognormal(1.0, deviation)
    found = [batches_until(test, slower, control, alpha=0.05, looks=40, seed_=run) for run in range(40)]
    assert np.isfinite(found).sum() <= binom.ppf(0.999, 40, 0.05)


def test_an_incident_that_slows_both_arms_blames_nobody() -> None:
    test = with_past(runtime_harm_test(BUCKETS, RATIO, 0.01, margin=0, agreeing_looks=1), lognormal())
    rng = np.random.default_rng(8)
    for look in range(120):
        host = 3.0 if 60 <= look < 80 else 1.0
        n_test = (2, 10, 50)[look // 40]
        row = 1, histogram(lognormal(host)(rng, n_test)), histogram(lognormal(host)(rng, n_test))
        test = update(test, RuntimeWindows.of(BUCKETS, [row]))
    assert test.max_log_e < log_threshold(0.01)


@pytest.mark.parametrize(("deviation", "most"), [(0.0, 20.0), (0.05, 20.0), (0.35, 150.0)])
def test_a_version_like_the_stable_one_passes_in_time(deviation: float, most: float) -> None:
    # With no spread at all every batch lies in one bucket, whose edges are all there is to cut at.
    test = with_past(runtime_non_inferiority_test(BUCKETS, RATIO), lognormal(1.0, deviation))
    times = lognormal(1.0, deviation)
    found = [batches_until(test, times, times, alpha=0.05, looks=200, seed_=run) for run in range(20)]
    assert np.mean(found) <= most


@pytest.mark.parametrize("slow", [0.0, 0.03])
def test_a_tail_passes_when_it_is_as_light_and_not_when_it_is_heavier(slow: float) -> None:
    random, runs = np.random.default_rng(5), 200
    test = runtime_tail_test(BUCKETS, RATIO, 2, 0.02, shape=(runs,))
    passed = np.zeros(runs, dtype=bool)
    for _ in range(30):
        arms = []
        for share in (slow, 0.0):
            times = 0.002 * np.exp(0.35 * random.standard_normal((runs, 20)))
            times = np.where(random.random((runs, 20)) < share, 10.0 * times, times)
            arms.append([[histogram(one) for one in times]])
        test = update(test, RuntimeWindows((1,), *(np.array(arm, dtype=np.float64) for arm in arms)))
        passed |= test.process.log_e >= log_threshold(0.05)
    assert passed.mean() >= 0.95 if slow == 0.0 else passed.mean() <= 0.06


def test_a_tail_in_the_last_bucket_can_be_compared() -> None:
    test = seed(runtime_tail_test(BUCKETS, RATIO, 2, 0.02), [(1, [0] * (BUCKETS - 1) + [200])])
    cut = cut_of(test, test.past.counts)
    assert int(cut[0]) == BUCKETS - 3


def test_one_burst_of_slow_batches_is_not_enough() -> None:
    test = with_past(runtime_harm_test(BUCKETS, RATIO, 0.003), lognormal())
    rng = np.random.default_rng(9)
    for look in (1, 2, 3):
        row = 1, histogram(lognormal(50.0)(rng, 200)), histogram(lognormal()(rng, 200))
        test = update(test, RuntimeWindows.of(BUCKETS, [row]))
        assert (test.max_log_e >= log_threshold(0.003)) == (look == 3)
