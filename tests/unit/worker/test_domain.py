"""What is said of a version that cannot be loaded."""

from services.worker.domain import LoadError


def test_a_long_message_is_cut() -> None:
    said = str(LoadError("x" * 10_000_000))
    assert said.endswith("x…")
    assert len(said) < 3_000


def test_what_is_no_character_is_replaced() -> None:
    # JSON can hold it, and no report can.
    assert str(LoadError("its \ud800 is unknown")) == "its ? is unknown"
