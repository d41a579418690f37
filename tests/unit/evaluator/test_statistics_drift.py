import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from evaluator.statistics.drift import DriftReference, DriftTest, drift_test, update
from evaluator.statistics.process import log_threshold

BINS, FEATURES = 10, 16
EVEN = np.full((FEATURES, BINS), 1.0 / BINS)


def reference(observations: int = 5000) -> DriftReference:
    return DriftReference.of([[1.0] * BINS] * FEATURES, observations)


def moved(mass: float, features: int) -> npt.NDArray[np.float64]:
    """Shares with `mass` moved from the upper into the lower half of the first features' bins."""
    shares = EVEN.copy()
    half = BINS // 2
    shares[:features, :half] += mass / half
    shares[:features, half:] -= mass / half
    return shares


def look(rng: np.random.Generator, shares: npt.NDArray[np.float64], n: int) -> list[list[int]]:
    return [[int(count) for count in rng.multinomial(n, row)] for row in shares]


def follow(test: DriftTest, shares: npt.NDArray[np.float64], *, n: int, looks: int, seed: int) -> tuple[DriftTest, int]:
    """Return the state and the look at which `drifted` changed, or `looks` if it did not."""
    rng = np.random.default_rng(seed)
    before = test.drifted
    for index in range(looks):
        test = update(test, look(rng, shares, n))
        if test.drifted != before:
            return test, index + 1
    return test, looks


def test_the_bets_are_e_values_at_the_bound_and_within_it() -> None:
    # One feature of two bins: x of n below the cut is binomial, and the bound is F_ref +- D.
    profile = DriftReference.of([[1.0, 2.0]], 2000)
    bound = 0.1 + math.sqrt(math.log(200) / 4000)
    assert profile.bounds[0] == pytest.approx(bound)
    test, n = drift_test(profile), 7
    log_e = [update(test, [[x, n - x]]).log_e for x in range(n + 1)]
    for share in np.linspace(1 / 3 - bound, 1 / 3 + bound, 21):
        assert (binom.pmf(range(n + 1), n, share) * np.exp(log_e)).sum() <= 1.0 + 1e-9
    assert (binom.pmf(range(n + 1), n, 1 / 3 + bound + 0.3) * np.exp(log_e)).sum() > 1.0


def test_the_end_of_a_drift_is_an_e_value_at_the_bound_and_beyond() -> None:
    profile = DriftReference.of([[1.0, 2.0]], 2000)
    bound = float(profile.bounds[0])
    test = drift_test(profile)
    while not test.drifted:
        test = update(test, [[100, 0]])
    assert (test.alarms, test.log_e) == (1, 0.0)
    n = 7
    log_e = [update(test, [[x, n - x]]).log_e for x in range(n + 1)]
    beyond = [share for share in np.linspace(0, 1, 41) if abs(share - 1 / 3) >= bound]
    for share in [*beyond, 1 / 3 + bound, 1 / 3 - bound]:
        assert (binom.pmf(range(n + 1), n, share) * np.exp(log_e)).sum() <= 1.0 + 1e-9


@pytest.mark.parametrize("mass", [0.0, 0.05, 0.1])
def test_no_alarm_within_the_tolerance_however_often_it_is_looked(mass: float) -> None:
    for seed in range(2):
        test, _ = follow(drift_test(reference()), moved(mass, FEATURES), n=50, looks=200, seed=seed)
        assert (test.drifted, test.alarms) == (False, 0)


@pytest.mark.parametrize(("mass", "features", "observations"), [(0.3, FEATURES, 500), (0.3, 1, 800), (0.2, 4, 1600)])
def test_a_shift_raises_an_alarm_and_its_end_ends_it(mass: float, features: int, observations: int) -> None:
    test, _ = follow(drift_test(reference()), EVEN, n=50, looks=60, seed=1)
    assert not test.drifted
    test, looks = follow(test, moved(mass, features), n=50, looks=100, seed=2)
    assert test.drifted
    assert looks * 50 <= observations
    test, _ = follow(test, moved(mass, features), n=50, looks=60, seed=3)
    assert (test.drifted, test.alarms) == (True, 1)
    test, looks = follow(test, EVEN, n=50, looks=100, seed=4)
    assert not test.drifted
    assert looks * 50 <= 1500
    test, _ = follow(test, EVEN, n=50, looks=60, seed=5)
    assert (test.drifted, test.alarms) == (False, 1)


def test_a_long_calm_does_not_delay_the_alarm_by_as_much() -> None:
    def observations_after(calm: int) -> int:
        test, _ = follow(drift_test(reference()), EVEN, n=500, looks=calm, seed=1)
        return follow(test, moved(0.3, 1), n=20, looks=500, seed=2)[1] * 20

    assert observations_after(200) <= 3 * observations_after(0)


def test_features_that_drift_stand_out() -> None:
    test = drift_test(reference())
    rng = np.random.default_rng(1)
    test = update(test, look(rng, moved(0.3, 2), 60))
    assert not test.drifted
    assert set(np.argsort(test.feature_log_e)[-2:]) == {0, 1}
    test, _ = follow(test, moved(0.3, 2), n=50, looks=50, seed=2)
    for _ in range(40):
        test = update(test, look(rng, moved(0.3, 2), 50))
    assert test.drifted
    assert set(np.argsort(test.feature_log_e)[:2]) == {0, 1}
    assert test.log_e == pytest.approx(float(test.feature_log_e.min()))


def test_a_category_unseen_in_the_reference_raises_an_alarm() -> None:
    profile = DriftReference.of([[50.0, 50.0, 0.0], [30.0, 70.0]], 1000)
    test = drift_test(profile)
    for _ in range(5):
        test = update(test, [[30, 30, 40], [30, 70]])
    assert test.alarms == 1


def test_features_may_have_different_numbers_of_bins_and_no_observations() -> None:
    test = drift_test(DriftReference.of([[1.0, 1.0], [1.0] * 5], [500, 800]))
    after = update(test, [[0, 0], [4, 4, 4, 4, 4]])
    assert after.looks == 1
    assert after.feature_log_e[0] == pytest.approx(0.0, abs=1e-12)
    table = np.array([[0, 0, 0, 0, 0], [4, 4, 4, 4, 4]], dtype=float)
    assert update(test, table).log_e == after.log_e
    assert update(test, [[0, 0], [0] * 5]) is test


def test_counts_of_a_trillion_stay_finite() -> None:
    test = drift_test(reference())
    for _ in range(3):
        test = update(test, [[10**12] * BINS] * FEATURES)
        assert math.isfinite(test.log_e)
        assert np.isfinite(test.feature_log_e).all()
    test = update(test, [[10**13] + [0] * (BINS - 1)] * FEATURES)
    assert test.drifted


def test_a_reference_too_small_to_test_against_raises_nothing() -> None:
    test = drift_test(DriftReference.of([[1.0, 1.0]], 3))
    test = update(test, [[1000, 0]])
    assert (test.drifted, test.log_e) == (False, 0.0)
    assert test.feature_log_e.tolist() == [-math.inf]


def test_folding_the_same_counts_gives_the_same_bits() -> None:
    def fold() -> float:
        rng = np.random.default_rng(4)
        test = drift_test(reference())
        for _ in range(15):
            test = update(test, look(rng, moved(0.1, 3), 40))
        return test.log_e

    assert fold() == fold()
    assert fold() < log_threshold(0.01)


def test_bad_references_and_counts_are_refused() -> None:
    for few in ([], [[1.0]], [[1.0, 1.0], [1.0]]):
        with pytest.raises(ValueError, match="at least one feature"):
            DriftReference.of(few, 100)
    for row in ([0.0, 0.0], [1.0, -1.0], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="finite shares"):
            DriftReference.of([row], 100)
    with pytest.raises(ValueError, match="at least 1 observation"):
        DriftReference.of([[1.0, 1.0]], 0)
    with pytest.raises(ValueError, match="tolerance"):
        DriftReference.of([[1.0, 1.0]], 100, tolerance=1.0)
    with pytest.raises(ValueError, match="alpha"):
        DriftReference.of([[1.0, 1.0]], 100, alpha=2.0)
    test = drift_test(DriftReference.of([[1.0, 1.0], [1.0, 1.0, 1.0]], 100))
    for rows, message in (
        ([[1, 1]], "expected counts of 2 features, got 1"),
        ([[1, 1], [1, 1]], "feature 1 has 3 bins, got 2 counts"),
        ([[1, -1], [1, 1, 1]], "at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            update(test, rows)
    with pytest.raises(ValueError, match="bins that the reference's feature does not have"):
        update(test, np.ones((2, 3)))
