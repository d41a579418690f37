"""The queue before a device: nothing lost, nothing twice, in order, within bounds."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.engine.batcher import Batcher, QueueFullError, Ticket


def ticket(name: str, rows: int = 1, deadline: float = 100.0) -> Ticket[str]:
    return Ticket(name, rows, deadline)


def names(batcher: Batcher[str], now: float = 0.0) -> list[tuple[str, int, int]]:
    return [(piece.ticket.work, piece.start, piece.stop) for piece in batcher.take(now).pieces]


def test_takes_what_fits_in_order() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=100)
    for name, rows in (("a", 1), ("b", 2), ("c", 2), ("d", 1)):
        batcher.add(ticket(name, rows))
    assert names(batcher) == [("a", 0, 1), ("b", 0, 2)]
    assert names(batcher) == [("c", 0, 2), ("d", 0, 1)]
    assert names(batcher) == []


def test_one_larger_than_a_batch_is_cut_and_shares_the_last_batch() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=100)
    batcher.add(ticket("small", 3))
    batcher.add(ticket("large", 10))
    batcher.add(ticket("next", 1))
    assert names(batcher) == [("small", 0, 3), ("large", 0, 1)]
    assert names(batcher) == [("large", 1, 5)]
    assert names(batcher) == [("large", 5, 9)]
    assert names(batcher) == [("large", 9, 10), ("next", 0, 1)]


def test_expired_ones_are_handed_back_and_not_run() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=100)
    batcher.add(ticket("late", deadline=5.0))
    batcher.add(ticket("early", deadline=50.0))
    batch = batcher.take(now=5.0)
    assert [one.work for one in batch.expired] == ["late"]
    assert [piece.ticket.work for piece in batch.pieces] == ["early"]


def test_a_full_queue_refuses_but_one_request_is_always_let_in() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=8)
    batcher.add(ticket("huge", 1000))
    with pytest.raises(QueueFullError):
        batcher.add(ticket("more"))


def test_as_many_rows_wait_as_may_and_no_more() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=8)
    batcher.add(ticket("first", 5))
    with pytest.raises(QueueFullError, match="5 of 8 rows wait"):
        batcher.add(ticket("large", 4))
    batcher.add(ticket("fits", 3))
    with pytest.raises(QueueFullError, match="8 of 8 rows wait"):
        batcher.add(ticket("more"))


def test_it_is_full_when_the_largest_batch_waits() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=8)
    batcher.add(ticket("a", 3))
    assert not batcher.full
    batcher.add(ticket("b"))
    assert batcher.full
    assert batcher.take(now=0.0).rows == 4
    assert (batcher.full, len(batcher)) == (False, 0)


def test_expired_ones_make_room() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=4)
    batcher.add(ticket("late", 4, deadline=5.0))
    batcher.take(now=5.0)
    assert batcher.waiting_rows == 0
    batcher.add(ticket("next", 4))


def test_cancelled_ones_make_room() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=2)
    first, second = ticket("first"), ticket("second")
    batcher.add(first)
    batcher.add(second)
    batcher.cancel(first)
    batcher.cancel(first)
    batcher.add(ticket("third"))
    assert names(batcher) == [("second", 0, 1), ("third", 0, 1)]


def test_the_rest_of_a_cut_request_is_dropped_when_it_is_cancelled() -> None:
    batcher: Batcher[str] = Batcher(max_rows=4, queue_rows=100)
    large = ticket("large", 10)
    batcher.add(large)
    names(batcher)
    batcher.cancel(large)
    assert names(batcher) == []
    assert batcher.waiting_rows == 0


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 12), st.integers(1, 30)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(operations=OPERATIONS, max_rows=st.integers(1, 6), queue_rows=st.integers(1, 20))
def test_every_row_runs_once_or_is_accounted_for(
    operations: list[tuple[str, int, int]], max_rows: int, queue_rows: int
) -> None:
    batcher: Batcher[int] = Batcher(max_rows, queue_rows)
    tickets: list[Ticket[int]] = []
    ran: Counter[int] = Counter()
    order: list[int] = []
    expired: set[int] = set()
    now = 0.0
    for kind, size, life in operations:
        now += 1
        if kind == "add":
            one = Ticket(len(tickets), size, now + life)
            waiting = batcher.waiting_rows
            try:
                batcher.add(one)
            except QueueFullError:
                assert waiting
                assert waiting + size > queue_rows
            else:
                tickets.append(one)
        elif kind == "cancel" and size < len(tickets):
            batcher.cancel(tickets[size])
        elif kind == "take":
            collect(batcher, now, max_rows, ran, order, expired)
    while len(batcher):
        collect(batcher, now, max_rows, ran, order, expired)
    assert batcher.waiting_rows == 0
    assert order == sorted(order)
    for one in tickets:
        whole = ran[one.work] == one.rows
        assert whole or one.cancelled or one.work in expired
        assert ran[one.work] <= one.rows


def collect(
    batcher: Batcher[int], now: float, max_rows: int, ran: Counter[int], order: list[int], expired: set[int]
) -> None:
    batch = batcher.take(now)
    assert batch.rows <= max_rows
    assert batch.pieces or batch.expired or not len(batcher)
    for late in batch.expired:
        assert late.deadline <= now
        expired.add(late.work)
    for piece in batch.pieces:
        assert piece.start == ran[piece.ticket.work]
        assert piece.ticket.deadline > now
        ran[piece.ticket.work] += piece.rows
        order.append(piece.ticket.work)
