"""How lanes are named in sentences."""

import pytest

from crossfade.cli.hints import every_request, lane_list


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        ([""], "the default lane"),
        (["eu"], "the lane of segment eu"),
        (["", "eu"], "the default lane and the lane of segment eu"),
        (["", "eu", "us"], "the default lane and those of the segments eu, us"),
        (["eu", "us"], "the lanes of the segments eu, us"),
    ],
)
def test_lanes_are_listed_by_their_names(segments: list[str], words: str) -> None:
    assert lane_list(segments) == words


@pytest.mark.parametrize(
    ("segment", "segments", "words"),
    [
        ("", [""], "every request"),
        ("", ["", "eu"], "every request of the default lane"),
        ("eu", ["", "eu"], "every request of the lane of segment eu"),
        ("eu", [], "every request of the lane of segment eu"),
    ],
)
def test_whose_requests_are_a_lanes(segment: str, segments: list[str], words: str) -> None:
    assert every_request(segment, segments) == words
