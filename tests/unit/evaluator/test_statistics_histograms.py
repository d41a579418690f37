import math

import numpy as np
import pytest

from evaluator.statistics.histograms import (
    Past,
    RuntimeWindows,
    at_least,
    geometric_ratio,
    quantile_bucket,
    shifted,
    smoothed,
)


def test_shifting_moves_counts_up_and_keeps_them_all() -> None:
    counts = np.array([[1.0, 2.0, 3.0, 4.0]])
    assert shifted(counts, 0).tolist() == [[1, 2, 3, 4]]
    assert shifted(counts, 1).tolist() == [[0, 1, 2, 7]]
    assert shifted(counts, 3).tolist() == [[0, 0, 0, 10]]


def test_shifting_by_k_buckets_is_multiplying_by_the_ratio_to_the_k() -> None:
    ratio = 2 ** (1 / 8)
    bounds = 50e-6 * ratio ** np.arange(60)
    times = np.random.default_rng(1).lognormal(math.log(0.0004), 0.4, 2000)

    def histogram(values: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(bounds, values, side="left"), minlength=61).astype(float)

    assert shifted(histogram(times)[np.newaxis], 3)[0].tolist() == histogram(times * ratio**3).tolist()


def test_smoothing_keeps_the_mass_and_the_mean() -> None:
    counts = np.zeros((3, 40))
    counts[0, 20], counts[1, 39], counts[2, 0] = 10, 5, 5
    shape = smoothed(counts)
    assert shape.sum(axis=-1) == pytest.approx([1.0, 1.0, 1.0])
    assert (shape[0] * np.arange(40)).sum() == pytest.approx(20.0)
    assert shape[0, 20] == pytest.approx(0.57, abs=0.01)
    # What would be blurred beyond an end stays in the last bucket there.
    assert shape[1, 39] > 0.75
    assert shape[2] == pytest.approx(shape[1, ::-1])


def test_the_quantile_bucket_has_the_quantile_in_or_above_it() -> None:
    counts = np.array([[0.0, 5.0, 5.0, 0.0], [0.0, 0.0, 0.0, 7.0], [3.0, 3.0, 3.0, 3.0]])
    bucket = quantile_bucket(counts, 0.5)
    assert bucket.tolist() == [2, 3, 2]
    assert (at_least(counts, bucket) >= 0.5 * counts.sum(axis=-1)).all()
    assert at_least(counts, bucket + 9).tolist() == [0, 0, 0]


def test_the_past_is_kept_per_batch_size_in_order() -> None:
    past = Past.empty(3).knowing([8, 2]).plus([8, 2, 8], np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]]))
    assert past.batches == (2, 8)
    assert past.counts.tolist() == [[0, 2, 0], [1, 0, 3]]
    wider = past.knowing([4, 2])
    assert (wider.batches, wider.counts.tolist()) == ((2, 4, 8), [[0, 2, 0], [0, 0, 0], [1, 0, 3]])
    assert past.knowing([8]) is past


def test_bounds_must_be_geometric() -> None:
    assert geometric_ratio([1.0, 2.0, 4.0, 8.0]) == pytest.approx(2.0)
    # As a histogram view writes them: rounded to microseconds.
    rounded = [round(5e-5 * 2 ** (i / 8), 9) for i in range(142)]
    assert geometric_ratio(rounded) == pytest.approx(2 ** (1 / 8), rel=1e-6)
    uneven = [1e-6, 2e-6, 3e-6, 4e-6]
    for bounds in ([1.0, 2.0, 3.0, 4.0], uneven, [1.0], [2.0, 1.0], [2.0, 2.0], [0.0, 1.0], [1.0, math.inf]):
        with pytest.raises(ValueError, match=r"bounds must be|geometric bounds"):
            geometric_ratio(bounds)


def test_bad_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="batch size 4 has 2 and 3 buckets instead of 3"):
        RuntimeWindows.of(3, [(4, [1, 2], [1, 2, 3])])
    with pytest.raises(ValueError, match="test must be at least 0"):
        RuntimeWindows.of(3, [(4, [1, -2, 0], [1, 2, 3])])
    with pytest.raises(ValueError, match="batch sizes must be at least 1"):
        RuntimeWindows.of(3, [(0, [1, 2, 0], [1, 2, 3])])
    with pytest.raises(ValueError, match="one row of buckets per batch size"):
        RuntimeWindows((1, 2), np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="at least 3 buckets"):
        Past.empty(2)
