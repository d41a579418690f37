"""Varints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.varint import read_varint, varint


@given(st.integers(0, 2**35 - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_what_is_written_is_read(number: int, before: bytes, after: bytes) -> None:
    written = varint(number)
    assert read_varint(before + written + after, len(before)) == (number, len(before + written))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9])
def test_what_does_not_end_is_no_length(data: bytes) -> None:
    with pytest.raises(ValueError, match="no varint"):
        read_varint(data, 0)
