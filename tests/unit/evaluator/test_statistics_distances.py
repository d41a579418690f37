import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from evaluator.statistics.distances import jensen_shannon, largest_shift, psi


def test_equal_shares_have_no_distance() -> None:
    for distance in (psi, jensen_shannon, largest_shift):
        assert float(distance([10, 20, 30], [10, 20, 30])) == pytest.approx(0.0, abs=1e-12)
    assert float(jensen_shannon([1, 2, 3], [100, 200, 300])) == pytest.approx(0.0, abs=1e-12)


def test_known_distances() -> None:
    reference, live = [500, 300, 200], [300, 300, 400]
    assert float(largest_shift(reference, live)) == pytest.approx(0.2)
    assert float(psi(reference, live)) == pytest.approx(0.2 * math.log(5 / 3) + 0.2 * math.log(2), abs=2e-3)
    expected = jensenshannon([0.5, 0.3, 0.2], [0.3, 0.3, 0.4], base=2) ** 2
    assert float(jensen_shannon(reference, live)) == pytest.approx(expected)
    assert float(jensen_shannon([1, 0], [0, 5])) == pytest.approx(1.0)


def test_each_feature_has_a_distance_of_its_own() -> None:
    for distance in (psi, jensen_shannon, largest_shift):
        rows = [[500, 300, 200], [1, 2, 3]], [[300, 300, 400], [3, 2, 1]]
        alone = [float(distance(first, second)) for first, second in zip(*rows, strict=True)]
        assert distance(*rows) == pytest.approx(alone)


def test_bins_that_a_feature_does_not_have_count_for_nothing() -> None:
    filled = [500, 300, 200, 0], [300, 300, 400, 0]
    assert float(psi(*filled, [True, True, True, False])) == pytest.approx(float(psi(filled[0][:3], filled[1][:3])))
    assert float(jensen_shannon(*filled)) == pytest.approx(float(jensen_shannon(filled[0][:3], filled[1][:3])))


def test_without_drift_psi_is_noise_of_a_known_size() -> None:
    rng = np.random.default_rng(1)
    reference, live = rng.multinomial(2000, [0.1] * 10, size=500), rng.multinomial(1000, [0.1] * 10, size=500)
    assert psi(reference, live).mean() == pytest.approx(9 * (1 / 2000 + 1 / 1000), rel=0.1)


def test_an_empty_bin_is_finite_and_an_empty_histogram_unknown() -> None:
    assert math.isfinite(float(psi([0, 100], [100, 0])))
    for distance in (psi, jensen_shannon, largest_shift):
        found = distance([[5, 5], [0, 0], [5, 5]], [[5, 5], [5, 5], [0, 0]])
        assert np.isnan(found).tolist() == [False, True, True]
        with pytest.raises(ValueError, match="finite and not negative"):
            distance([1, 2], [-1, 2])
