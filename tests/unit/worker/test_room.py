"""Batches become smaller where the memory is short, and large again after a while."""

from services.worker.engine.room import FULL_BATCHES, Room


def after(room: Room, largest: int, batches: int, rows: int = 0) -> int:
    """The largest batch after so many of `rows`; 0: as large as they may be."""
    for _ in range(batches):
        largest = room.ran(rows or largest, largest)
    return largest


def test_it_is_halved_and_doubled_again_by_full_batches_alone() -> None:
    room = Room(64)
    assert after(room, 64, 10 * FULL_BATCHES) == 64
    assert room.failed(64, 64) == 32
    assert after(room, 32, 10 * FULL_BATCHES, rows=31) == 32
    assert after(room, 32, FULL_BATCHES - 1) == 32
    assert after(room, 32, 1) == 64


def test_it_grows_to_what_it_was_made_for_and_no_further() -> None:
    room = Room(48)
    assert room.failed(48, 48) == 24
    assert after(room, 24, FULL_BATCHES) == 48
    assert after(room, 48, 10 * FULL_BATCHES) == 48


def test_each_failure_makes_the_next_try_later() -> None:
    room = Room(64)
    largest = room.failed(64, 64)
    for failures in range(1, 12):
        wait = FULL_BATCHES << min(failures - 1, 6)
        assert after(room, largest, wait - 1) == 32
        assert after(room, largest, 1) == 64
        largest = room.failed(64, 64)


def test_a_batch_that_was_under_way_when_another_failed_makes_nothing_larger() -> None:
    room = Room(64)
    assert room.failed(16, 64) == 8
    assert room.failed(64, 8) == 8
