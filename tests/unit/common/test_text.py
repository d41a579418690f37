"""Text that others have written."""

import pytest

from services.common.text import fitting, fitting_bytes, listed, shown


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("as it is", "as it is"),
        ("1234567890", "1234567890"),
        ("12345678901", "123456789…"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\x1b[2K\x9b", "a\N{REPLACEMENT CHARACTER}[2K\N{REPLACEMENT CHARACTER}"),
        ("a\tb\r\nc", "a\tb\nc"),
        ("a\ud800b", "a?b"),
        ("", ""),
    ],
)
def test_it_can_be_stored_and_sent(text: str, fits: str) -> None:
    assert fitting(text, 10) == fits


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("as it is", "as it is"),
        ("1234567890", "1234567890"),
        ("12345678901", "1234567…"),
        ("äöüäöü", "äöü…"),
        ("a\ud800b", "a?b"),
    ],
)
def test_it_can_be_cut_by_its_bytes(text: str, fits: str) -> None:
    assert fitting_bytes(text, 10) == fits


def test_of_a_callers_words_and_of_lists_the_beginning_is_quoted() -> None:
    assert shown("it's") == '"it\'s"'
    assert len(shown("\x01" * 1_000_000)) < 300
    assert listed([1, 2, 3], 3) == "1, 2, 3"
    assert listed((1, 2, 3), 2) == "1, 2 and 1 more"
    assert listed(()) == ""
