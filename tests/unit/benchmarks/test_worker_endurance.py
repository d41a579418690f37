"""A run that is no overload, answers too little, or keeps memory is told from a good one."""

import pytest

from benchmarks.worker_endurance import growth, missed

GOOD = {
    "arrived_times": 7.5,
    "goodput": 0.95,
    "overload_memory_mb": -3.0,
    "cancelled": 100_200.0,
    "cancelled_memory_mb": 12.0,
    "failed_afterwards": 0.0,
}


def test_a_good_run_misses_nothing() -> None:
    assert missed(GOOD) == []


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("arrived_times", 1.06),
        ("goodput", 0.6),
        ("overload_memory_mb", 74.0),
        ("cancelled", 16_000.0),
        # A kilobyte of each of the later half of the calls.
        ("cancelled_memory_mb", 50.0),
        ("failed_afterwards", 1.0),
    ],
)
def test_each_bound_is_looked_at(figure: str, value: float) -> None:
    (word,) = missed(GOOD | {figure: value})
    assert word.startswith(f"{figure} is {value}")


def test_growth_is_of_the_most_and_not_of_the_last() -> None:
    assert growth([40.0, 65.0, 50.0, 60.0, 66.5, 41.0]) == 1.5
    assert growth([40.0, 50.0, 60.0, 70.0]) == 20.0
