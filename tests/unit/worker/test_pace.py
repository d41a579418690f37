"""When a caller that was turned away should come again."""

import pytest

from services.worker.front_end.pace import Pace


def test_what_waits_takes_as_long_as_the_latest_batches() -> None:
    pace = Pace()
    assert pace.seconds(1_000) == 0.1
    pace.ran(10, 0.02)
    assert pace.seconds(100) == pytest.approx(0.2)
    for _ in range(30):
        pace.ran(10, 0.04)
    assert pace.seconds(100) == pytest.approx(0.4, rel=0.01)


def test_nobody_is_told_to_come_at_once_or_to_wait_for_minutes() -> None:
    pace = Pace()
    pace.ran(64, 0.0001)
    assert pace.seconds(10) == 0.01
    pace = Pace()
    pace.ran(1, 10.0)
    assert pace.seconds(1_000) == 30.0
