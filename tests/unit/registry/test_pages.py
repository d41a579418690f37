"""Page tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.servicer import pages
from services.common.errors import InvalidArgumentError

FORM = (0.0, "", 0)


@given(time=st.floats(min_value=0, max_value=4e9), name=st.text(max_size=20), number=st.integers(0, 2**62))
def test_a_key_comes_back(time: float, name: str, number: int) -> None:
    assert pages.read("events of -", pages.write("events of -", (time, name, number)), FORM) == (time, name, number)


def test_the_first_page_has_no_token() -> None:
    assert pages.read("events of -", "", FORM) is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "AAAA",
        pages.write("events of m", (1.0, "m", 1)),
        pages.write("events of -", (1.0, "m")),
        pages.write("events of -", (1.0, 2, 1)),
    ],
)
def test_foreign_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        pages.read("events of -", token, FORM)
    assert caught.value.field == "page_token"
