"""A front-end gives way once, and not for bursts."""

from services.worker.front_end.overload import REFUSALS, WINDOW_SECONDS, Overload
from tests.fakes.clock import ManualClock


def test_it_yields_once_after_many_refusals() -> None:
    lowered: list[int] = []
    overload = Overload(ManualClock(), lambda: lowered.append(1))
    for _ in range(REFUSALS - 1):
        overload.refused()
    assert lowered == []
    for _ in range(3 * REFUSALS):
        overload.refused()
    assert lowered == [1]


def test_bursts_apart_are_no_flood() -> None:
    lowered: list[int] = []
    clock = ManualClock()
    overload = Overload(clock, lambda: lowered.append(1))
    for _ in range(20):
        for _ in range(REFUSALS - 1):
            overload.refused()
        clock.advance(WINDOW_SECONDS + 1.0)
    assert lowered == []
    for _ in range(REFUSALS):
        clock.advance(WINDOW_SECONDS / REFUSALS)
        overload.refused()
    assert lowered == [1]
