"""Text that others have written."""

import pytest

from services.common.text import fitting


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("as it is", "as it is"),
        ("1234567890", "1234567890"),
        ("12345678901", "123456789…"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\ud800b", "a?b"),
        ("", ""),
    ],
)
def test_it_can_be_stored_and_sent(text: str, fits: str) -> None:
    assert fitting(text, 10) == fits
