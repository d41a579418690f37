"""What gRPC rounds up is not counted on."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.deadlines import ended_by_deadline, seconds_left


@dataclass
class Told:
    """A call whose deadline has arrived."""

    left: float | None

    def time_remaining(self) -> float | None:
        """As it has arrived."""
        return self.left


def arrived(milliseconds: int) -> float:
    """What a timeout becomes on its way: of a second and more three digits are left."""
    unit = max(1, 10 ** (len(str(milliseconds)) - 3)) if milliseconds >= 1000 else 1
    return -(-milliseconds // unit) * unit / 1000


@pytest.mark.parametrize(
    ("asked", "told"), [(999, 0.999), (1501, 1.51), (10_010, 10.1), (60_000, 60.0), (60_001, 60.1)]
)
def test_so_timeouts_are_rounded(asked: int, told: float) -> None:
    assert arrived(asked) == told


@given(st.integers(1, 10_000_000), st.floats(0.0, 0.02))
def test_nobody_is_thought_to_wait_for_longer_than_he_does(milliseconds: int, way: float) -> None:
    left = seconds_left(Told(arrived(milliseconds) - way))
    assert left is not None
    assert left <= milliseconds / 1000 + 1e-9
    assert left >= (milliseconds / 1000 - way) * 0.98 - 0.002


@pytest.mark.parametrize("sent_before", [1.0, 1.02])
@pytest.mark.parametrize("milliseconds", [500, 1501, 10_010, 100_100])
def test_who_is_cancelled_at_the_deadline_is_told_from_who_gave_up(milliseconds: int, sent_before: float) -> None:
    told = arrived(round(sent_before * milliseconds))
    waited = milliseconds / 1000 - 0.002
    assert ended_by_deadline(told - waited, waited)
    assert not ended_by_deadline(told - 0.9 * waited, 0.9 * waited)


def test_whoever_has_set_no_deadline_has_none() -> None:
    assert seconds_left(Told(None)) is None
    assert seconds_left(Told(-1.0)) == 0.0
