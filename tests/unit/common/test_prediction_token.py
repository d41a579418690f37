"""The prediction token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.prediction_token import MAX_ROWS, NO_CLASS, Prediction, TokenError, TokenKeys

KEYS = TokenKeys({1: b"k" * 32, 2: b"l" * 32}, signing=1)
PREDICTION = Prediction(2**64 - 1, 1_700_000_000_123, 7, 424_242, 1, "churn", "v2", "eu", (0, 1, 65_535))


def test_a_token_states_what_was_signed() -> None:
    assert KEYS.verify(KEYS.sign(PREDICTION)) == PREDICTION


@pytest.mark.parametrize("cohort", [0, 7, 49])
@pytest.mark.parametrize("numbers", [(), (1.5, -2.0)])
def test_a_token_states_the_cohort_of_a_key(cohort: int, numbers: tuple[float, ...]) -> None:
    classes = (NO_CLASS, NO_CLASS) if numbers else (0, 1)
    keyed = PREDICTION._replace(cohort=cohort, classes=classes, numbers=numbers)
    for told in (keyed, keyed._replace(caller="eu-west"), keyed._replace(cohort=-1, caller="x" * 63)):
        assert KEYS.verify(KEYS.sign(told)) == told


def test_it_is_short_and_printable() -> None:
    token = KEYS.sign(PREDICTION)
    assert len(token) < 100
    assert token.isascii()
    assert token.isprintable()


@given(st.integers(0, 400), st.integers(1, 255))
def test_no_changed_byte_is_believed(position: int, difference: int) -> None:
    token = bytearray(KEYS.sign(PREDICTION).encode())
    position %= len(token)
    token[position] = (token[position] + difference) % 256
    if bytes(token) == KEYS.sign(PREDICTION).encode():
        return
    try:
        changed = KEYS.verify(token.decode("latin-1"))
    except TokenError:
        return
    # Base64 leaves spare bits in the last character: another spelling of the same bytes is the same token.
    assert changed == PREDICTION


def test_keys_rotate() -> None:
    old = TokenKeys({1: b"k" * 32}, signing=1).sign(PREDICTION)
    assert TokenKeys({1: b"k" * 32, 2: b"l" * 32}, signing=2).verify(old) == PREDICTION
    with pytest.raises(TokenError, match="key is unknown"):
        TokenKeys({2: b"l" * 32}, signing=2).verify(old)


def test_a_token_of_another_deployment_is_refused() -> None:
    foreign = TokenKeys({1: b"x" * 32}, signing=1).sign(PREDICTION)
    with pytest.raises(TokenError, match="another deployment"):
        KEYS.verify(foreign)


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    with pytest.raises(TokenError):
        KEYS.verify(text)


def test_rows_beyond_the_bound_are_left_out() -> None:
    many = Prediction(1, 2, 3, 4, 1, "m", "v", "", tuple(range(100)))
    assert KEYS.verify(KEYS.sign(many)).classes == tuple(range(MAX_ROWS))


def test_a_key_file_is_read() -> None:
    keys = TokenKeys.parse(f"# signing first\n2 {'ab' * 16}\n1 {'cd' * 16} # old\n")
    assert keys.verify(keys.sign(PREDICTION)) == PREDICTION
    with pytest.raises(TokenError):
        KEYS.verify(keys.sign(PREDICTION))


@pytest.mark.parametrize("text", ["", "# nothing\n", "1\n", "one abcd\n", "1 xyz\n", "1 abcd\n", "300 " + "ab" * 16])
def test_a_bad_key_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        TokenKeys.parse(text)


def test_a_key_file_that_gives_an_id_to_two_keys_is_refused() -> None:
    """One of them would be left out in silence: the new one, where a key is exchanged."""
    with pytest.raises(ValueError, match="token key 1 stands in two lines: give each key an id of its own"):
        TokenKeys.parse(f"1 {'ab' * 16}\n1 {'cd' * 16}\n")


def test_a_regressions_token_states_numbers() -> None:
    said = PREDICTION._replace(classes=(NO_CLASS,) * 3, numbers=(1.5, -2.0, float("inf")))
    assert KEYS.verify(KEYS.sign(said)) == said
    many = said._replace(classes=(NO_CLASS,) * 100, numbers=tuple(map(float, range(100))))
    assert KEYS.verify(KEYS.sign(many)).numbers == tuple(map(float, range(MAX_ROWS)))
