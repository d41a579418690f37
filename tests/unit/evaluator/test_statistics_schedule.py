"""Looks at counts that add up: their times, and their parts of the error."""

import numpy as np
import pytest

from evaluator.statistics.schedule import GREAT_PART, LAST_LOOK, Schedule


def looks(until: float) -> list[tuple[float, float]]:
    """Times and parts of the looks up to a time."""
    found, schedule = [], Schedule()
    while schedule.following <= until:
        at = schedule.following
        part, schedule = schedule.due(at)
        found.append((at, part))
    return found


def test_the_looks_of_a_period_are_64_and_seven_of_them_are_great() -> None:
    found = looks(1.0)
    assert [at for at, _ in found] == pytest.approx([LAST_LOOK * number / 64 for number in range(1, 65)])
    great = [round(64 * at / LAST_LOOK) for at, part in found if part > GREAT_PART]
    assert great == [2, 4, 8, 16, 32, 48, 64]
    assert sum(part for _, part in found) == pytest.approx(0.9)


def test_the_looks_of_all_times_share_one_error() -> None:
    spent = sum(part for _, part in looks(1_000.0))
    assert 0.999 < spent < 1.0
    after = [at for at, _ in looks(3.0) if at > LAST_LOOK + 1e-9]
    assert after[0] == pytest.approx(LAST_LOOK * 1.125)


def test_the_looks_ahead_are_those_that_will_be_taken() -> None:
    assert np.array(Schedule().ahead(3.0)) == pytest.approx(np.array(looks(3.0)))
    _, later = Schedule().due(0.5)
    assert [at for at, _ in later.ahead(1.0)] == [at for at, _ in looks(1.0) if at > 0.5]


def test_looks_that_are_due_together_are_one() -> None:
    part, schedule = Schedule().due(LAST_LOOK * 8.5 / 64)
    assert schedule.taken == 8
    assert part == pytest.approx(3 * GREAT_PART + 8 * 0.15 / 64)
    assert schedule.due(LAST_LOOK * 8.9 / 64) == (0.0, schedule)
