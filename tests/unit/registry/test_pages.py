"""Page tokens."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.servicer import pages
from services.common.errors import InvalidArgumentError

FORM = (0.0, "", 0)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


@given(time=st.floats(min_value=0, max_value=4e9), name=IDS, number=st.integers(0, 2**63 - 1))
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


def forged(*key: object) -> str:
    """A token with another key than the Registry wrote into it."""
    written = pages.write("events of -", (1.0, "m", 1))
    mark = json.loads(base64.urlsafe_b64decode(written + "=" * (-len(written) % 4)))[0]
    return base64.urlsafe_b64encode(json.dumps([mark, *key]).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "key",
    [
        (float("inf"), "m", 1),
        (float("nan"), "m", 1),
        (-1.0, "m", 1),
        (1e300, "m", 1),
        (1.0, "m\0", 1),
        (1.0, "\ud800", 1),
        (1.0, "", 1),
        (1.0, "m", 10**30),
        (1.0, "m", 2**63),
        (1.0, "m", -1),
    ],
)
def test_a_key_that_no_database_can_hold_is_refused(key: tuple[object, ...]) -> None:
    assert pages.read("events of -", forged(1.0, "m", 1), FORM) == (1.0, "m", 1)
    with pytest.raises(InvalidArgumentError) as caught:
        pages.read("events of -", forged(*key), FORM)
    assert caught.value.field == "page_token"


def test_a_token_nested_without_end_is_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        pages.read("events of -", base64.urlsafe_b64encode(b"[" * 300_000).decode(), FORM)
