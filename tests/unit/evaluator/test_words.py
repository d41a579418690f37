"""Numbers as people read them."""

import math

import pytest

from evaluator import words


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0002, "0.02 %"), (0.175, "17.5 %"), (0.0, "0.00 %"), (1.0, "100.0 %"), (math.nan, "unknown")]
)
def test_percent(rate: float, text: str) -> None:
    assert words.percent(rate) == text


@pytest.mark.parametrize(("rate", "text"), [(0.005, "0.5 points"), (0.01, "1 point"), (0.03, "3 points")])
def test_points(rate: float, text: str) -> None:
    assert words.points(rate) == text


def test_one_point_is_allowed_and_several_are() -> None:
    assert words.allowed(0.01, "more") == "1 point more is allowed"
    assert words.allowed(0.005, "more or less") == "0.5 points more or less are allowed"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00034, "340 µs"), (0.0031, "3.1 ms"), (1.2, "1.2 s"), (math.nan, "unknown")]
)
def test_runtime(seconds: float, text: str) -> None:
    assert words.runtime(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (8.0, "8 s"), (89.2, "90 s"), (180.0, "3 min"), (9000.0, "2.5 h"), (4 * 86_400.0, "4 d")],
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_counts_forecasts_and_nouns() -> None:
    assert words.count(9602) == "9,602"
    assert words.some(384) == "380"
    assert words.some(12_345) == "12,000"
    assert words.some(37) == "37"
    assert words.many(1, "batch") == "1 batch"
    assert words.many(12, "batch") == "12 batches"
    assert words.many(2, "label") == "2 labels"
    assert words.change(-0.02) == "−2 %"
    assert words.change(-0.002) == words.change(0.002) == "0 %"
