"""What the oracle of the Evaluator's tests computes by itself is what others compute."""

import math

import numpy as np
import pytest
from scipy.stats import hypergeom, multivariate_normal
from scipy.stats import t as student

from benchmarks.evaluator_error_rates.oracle import spending
from benchmarks.evaluator_error_rates.oracle.boosts import hypergeometric
from benchmarks.evaluator_error_rates.oracle.caps import capped_log_es
from benchmarks.evaluator_error_rates.oracle.crossing import crossed, information
from benchmarks.evaluator_error_rates.oracle.mixture import log_mixture
from benchmarks.evaluator_error_rates.oracle.students import log_tail, quantile


@pytest.mark.parametrize("freedom", [2.0, 3.3, 49.0, 98.0, 1_000.0])
def test_students_tail_is_scipys(freedom: float) -> None:
    for t in (-30.0, -2.0, -1e-6, 0.0, 0.3, 1.0, 4.0, 25.0):
        assert log_tail(t, freedom) == pytest.approx(float(student.logsf(t, freedom)), abs=1e-11)
    assert quantile(1e-4, freedom) == pytest.approx(float(student.isf(1e-4, freedom)), rel=1e-10)
    # So far out that no float shows the probability: the tail falls as t^-freedom.
    assert log_tail(1e9, 40.0) - log_tail(1e10, 40.0) == pytest.approx(40.0 * math.log(10.0), rel=1e-6)


@pytest.mark.parametrize("alike", [0.0, 2.0])
def test_the_recursion_over_looks_is_the_multivariate_normals(alike: float) -> None:
    times, bounds = (0.2, 0.5, 0.7, 1.0), [2.2, 1.9, math.inf, 1.7]
    have = information(times, alike)
    correlated = [[math.sqrt(min(one, other) / max(one, other)) for one in have] for other in have]
    kept = multivariate_normal.cdf(bounds, cov=correlated, abseps=1e-8, releps=1e-8, maxpts=1_000_000)
    assert crossed(have, bounds) == pytest.approx(1.0 - kept, abs=1e-7)


def test_looks_together_spend_all_of_the_error_and_no_more() -> None:
    times, parts = zip(*map(spending.look, range(1, 400)), strict=True)
    assert list(times) == sorted(times)
    assert 1 - sum(parts) == parts[-1] * (400 - 64 - 1)


def test_a_windows_law_is_scipys() -> None:
    for row in ((30, 4, 50, 20), (5, 5, 3, 3), (1, 0, 9, 0), (200, 190, 10, 1)):
        n_test, x_test, n_stable, x_stable = row
        for bad, chance in hypergeometric(row).items():
            expected = hypergeom.pmf(bad, n_test + n_stable, x_test + x_stable, n_test)
            assert float(chance) == pytest.approx(float(expected), rel=1e-9)


def test_accounts_without_a_cap_are_the_mixture() -> None:
    gains = np.random.default_rng(1).normal(0.0, 1.0, (6, 3)).tolist()
    found, _, _ = capped_log_es([1.0, 2.0, 0.5], gains, 0.3, math.inf)
    for number, log_e in enumerate(found, start=1):
        assert log_e == pytest.approx(log_mixture([1.0, 2.0, 0.5], gains[:number], 0.3), abs=1e-12)
