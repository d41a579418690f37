"""Rows of shared memory: no two requests ever have the same one, and all come back."""

from hypothesis import given
from hypothesis import strategies as st

from services.worker.shared_memory.rows import RowRing


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(1, 12), st.integers(0, 30)), max_size=200))
def test_nobody_shares_a_row_and_none_is_lost(capacity: int, steps: list[tuple[int, int]]) -> None:
    ring, held = RowRing(capacity), list[tuple[int, int]]()
    for rows, choice in steps:
        first = ring.take(rows)
        if first is None:
            # It may be refused though as many rows are free: they do not lie together.
            assert held or rows > capacity
        else:
            taken = {row for start, size in held for row in range(start, start + size)}
            assert 0 <= first <= first + rows <= capacity
            assert taken.isdisjoint(range(first, first + rows))
            held.append((first, rows))
        if held and choice % 3:
            ring.give_back(held.pop(choice % len(held))[0])
    for first, _ in held:
        ring.give_back(first)
    assert ring.take(capacity) == 0


def test_one_after_the_other_lie_together() -> None:
    ring = RowRing(10)
    assert [ring.take(rows) for rows in (1, 4, 2)] == [0, 1, 5]
    # What is left at the end is too little, and the beginning is taken.
    assert ring.take(4) is None
    assert [ring.fits(rows) for rows in (3, 4)] == [True, False]
    ring.give_back(0)
    ring.give_back(1)
    assert ring.take(4) == 0
    assert ring.take(1) == 4
    assert ring.take(1) is None


def test_an_idle_ring_begins_anew() -> None:
    ring = RowRing(100)
    for _ in range(5):
        first = ring.take(3)
        assert first == 0
        ring.give_back(first)
