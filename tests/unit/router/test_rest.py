"""Whose failure it is when a deadline passes in the middle of a stream."""

import pytest

from router.call import Reply
from router.streams import Rest
from tests.fakes.clock import ManualClock
from tests.fakes.transport import FakeParts

LATE = Reply("DEADLINE_EXCEEDED", begun=True)


class Slow(FakeParts):
    """Parts of which each is waited for."""

    def __init__(self, clock: ManualClock, seconds: float, end: Reply) -> None:
        super().__init__(2, end)
        self._clock = clock
        self._seconds = seconds

    async def read(self) -> bytes | Reply:
        self._clock.advance(self._seconds)
        return await super().read()


async def read(reading: float, writing: float, *, end: Reply = LATE, leaves: bool = False) -> list[Reply]:
    """What is told of a stream of which each part takes so long to come, and so long to be taken by its caller."""
    clock, told = ManualClock(), list[Reply]()
    rest = Rest(Slow(clock, reading, end), told.append, lambda: True, clock.monotonic)
    clock.advance(writing)
    while isinstance(await rest.read(), bytes):
        clock.advance(writing)
        if leaves:
            rest.cancel()
            break
    return told


@pytest.mark.parametrize("leaves", [False, True])
async def test_it_is_the_versions_if_half_of_the_time_went_by_in_waiting_for_parts(leaves: bool) -> None:
    assert await read(2.0, 1.0, leaves=leaves) == [LATE]
    assert await read(1.0, 2.0, leaves=leaves) == []


async def test_half_of_the_time_is_enough() -> None:
    assert await read(1.0, 1.0) == [LATE]


async def test_any_other_end_is_told_however_slow_the_caller_was() -> None:
    for end in (Reply("OK", begun=True), Reply("INTERNAL", begun=True)):
        assert await read(1.0, 2.0, end=end) == [end]


async def test_one_that_is_left_in_time_has_no_end() -> None:
    clock, told = ManualClock(), list[Reply]()
    parts = FakeParts(2, LATE)
    Rest(parts, told.append, lambda: False, clock.monotonic).cancel()
    assert (parts.left, told) == (True, [])
