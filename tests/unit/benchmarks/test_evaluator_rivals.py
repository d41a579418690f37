"""What the benchmark of error rates takes for others' judges is what they are called."""

import math

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import chi2, chisquare, mannwhitneyu

from benchmarks.evaluator_error_rates import judges, other_effects, runtime_judges
from benchmarks.evaluator_error_rates.judges import Rates
from benchmarks.evaluator_error_rates.runtimes import shape
from evaluator.gates.distributions import RATIO


def test_mann_whitney_is_scipys() -> None:
    rng = default_rng(2)
    for shift in (0.0, 0.3, 0.6):
        test, control = rng.poisson(5 + shift, 80), rng.poisson(5, 90)
        counts = [np.bincount(arm, minlength=30)[np.newaxis].astype(float) for arm in (test, control)]
        p = mannwhitneyu(test, control, alternative="greater", method="asymptotic", use_continuity=False).pvalue
        assert bool(runtime_judges.mann_whitney(*counts)[0]) == (p < 0.05)


def test_flaggers_fifth_failed_minute_ends_a_rollout() -> None:
    minutes = 8
    n = np.full((minutes * judges.PER_MINUTE, 1), 50.0)
    x = np.zeros(n.shape)
    for failing in (0, 2, 3, 5, 7):
        x[failing * judges.PER_MINUTE] = 7.0
    found = judges.flagger(Rates(n, x, n, x), 0.01)
    assert found.tolist() == [minutes * judges.PER_MINUTE]
    assert math.isinf(judges.flagger(Rates(n, x - (x > 6), n, x), 0.01)[0])


def test_kayentas_judge_needs_an_effect() -> None:
    rng = default_rng(1)
    stable = 1.0 + 0.01 * rng.standard_normal((20, 3))
    test = stable[::-1] + np.array([0.0, 0.004, 0.5])
    first = judges.kayenta(test, stable)
    assert math.isinf(first[0])
    assert first[2] == 5 * judges.PER_MINUTE


def test_msprt_at_one_look_is_the_mixtures_ratio() -> None:
    seen = Rates(*(np.full((1, 1), value) for value in (400.0, 40.0, 7600.0, 380.0)))
    pooled = 420.5 / 8001.0
    v, tau, gap = pooled * (1 - pooled) * (1 / 400 + 1 / 7600), 0.03, 0.05
    # The ratio of N(0, v + tau^2) to N(0, v) at the gap.
    log_ratio = -0.5 * math.log((v + tau**2) / v) - 0.5 * gap**2 / (v + tau**2) + 0.5 * gap**2 / v
    for alpha, look in ((math.exp(-log_ratio) * 1.01, 1.0), (math.exp(-log_ratio) * 0.99, math.inf)):
        assert judges.msprt(seen, tau, alpha).tolist() == [look]


def test_a_mixture_of_normal_means_rejects_by_the_densities_ratio() -> None:
    gap, variance, scale = 0.05, 0.0006, 0.03
    # The ratio of N(0, v + tau^2) to N(0, v) at the gap.
    total = variance + scale * scale
    log_ratio = -0.5 * math.log(total / variance) - 0.5 * gap**2 / total + 0.5 * gap**2 / variance
    for direction, alpha, rejects in (
        (1.0, math.exp(-log_ratio) * 1.01, True),
        (1.0, math.exp(-log_ratio) * 0.99, False),
        (-1.0, math.exp(-log_ratio) * 1.01, False),
    ):
        found = judges.beyond_mixture(np.array([direction * gap]), np.array([variance]), scale, alpha)
        assert found.tolist() == [rejects]


def test_p99_lies_on_the_line_through_its_bucket() -> None:
    counts = np.zeros((2, 10))
    counts[0, 3], counts[0, 6] = 98, 2
    counts[1, 9] = 50
    low, high = RATIO**5, RATIO**6
    # The 99th of 100 is the first of the two that lie in bucket 6.
    assert runtime_judges.p99(counts) == pytest.approx(
        [low + (high - low) / 2, RATIO**8 + (RATIO**9 - RATIO**8) * 0.99]
    )


def test_slower_batches_are_found_by_every_judge_and_alike_ones_by_none_that_is_valid() -> None:
    usual, slow = shape(), shape(slower=math.log(1.5))
    harmed, alike = (runtime_judges.others(default_rng(4), (arm, usual), slow, 20, 120, 50) for arm in (slow, usual))
    assert all(np.isfinite(found).all() for found in harmed.values())
    # The most looks of all: five failed minutes, and the first five minutes of points.
    assert all(found.max() <= 5 * judges.PER_MINUTE for found in harmed.values())
    assert np.isinf(alike["mSPRT of ln seconds, alpha .01"]).all()
    assert np.isinf(alike["Flagger-like, p99, 5 failed checks"]).all()


def test_chi_squared_is_scipys() -> None:
    counts = default_rng(5).multinomial(500, [0.1] * 10, 20).astype(float)
    usual = np.full(10, 0.1)
    assert other_effects.chi_squared(counts, usual) == pytest.approx(chisquare(counts, axis=1).statistic)
    assert chi2.ppf(1 - 0.05 / 20, 9) == pytest.approx(other_effects.CHI_OF_TWENTY, abs=1e-3)
