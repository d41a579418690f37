import math

import numpy as np
import pytest

from evaluator.statistics.counts import check_part, checked_counts


def test_counts_come_back_whole_and_read_only() -> None:
    counts = checked_counts("n", [0, 3, 10**12])
    assert counts.tolist() == [0.0, 3.0, 1e12]
    with pytest.raises(ValueError, match="read-only"):
        counts[0] = 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, -2], r"n must be at least 0.*-2"),
        ([1.0, math.nan], "n must be finite"),
        ([math.inf], "n must be finite"),
        ([0.5], r"n must be whole numbers, got 0\.5"),
        ([2.0**54], r"n must be at most 2\*\*53"),
        ([[1, 2], [3]], "n must be numbers in rows of equal length"),
        (["many"], "n must be numbers"),
    ],
)
def test_bad_counts_are_refused_with_their_reason(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_counts("n", values)


def test_a_part_must_fit_into_its_whole() -> None:
    with pytest.raises(ValueError, match=r"x must not exceed n, got 3\.0 of 2\.0"):
        check_part("x", np.array([1.0, 3.0]), "n", np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="one shape"):
        check_part("x", np.array([1.0]), "n", np.array([1.0, 2.0]))
