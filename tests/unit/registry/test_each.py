"""Upkeep goes on past what cannot be kept up."""

from contextlib import suppress

import pytest

from registry.service.each import Rounds, for_each
from services.common.errors import DeadlineExceededError, FailedPreconditionError, UnavailableError


@pytest.mark.parametrize(
    "failure", [FailedPreconditionError("LEDGER_BROKEN", "the ledger is broken"), KeyError("a row that is not there")]
)
def test_all_others_are_done_and_the_first_failure_is_told(failure: Exception) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise failure
        if number % 2:
            raise ValueError(number)
        done.append(number)

    with pytest.raises(type(failure)) as caught:
        for_each(range(5), work)
    assert caught.value is failure
    assert done == [0, 2, 4]


@pytest.mark.parametrize(
    "failure",
    [
        UnavailableError("DATABASE_UNAVAILABLE", "the database does not answer"),
        DeadlineExceededError("DEADLINE_EXCEEDED", "the time is over"),
    ],
)
def test_without_the_database_no_other_is_tried(failure: Exception) -> None:
    tried: list[int] = []

    def work(number: int) -> None:
        tried.append(number)
        raise failure

    with pytest.raises(type(failure)):
        for_each(range(5), work)
    assert tried == [0]


def test_what_fails_each_time_keeps_nothing_behind_it_waiting() -> None:
    rounds = Rounds[int](3)
    broken, left, tried = set(range(7)), list(range(10)), list[list[int]]()

    def work(number: int) -> None:
        tried[-1].append(number)
        if number in broken:
            raise KeyError(number)
        left.remove(number)

    def once() -> None:
        tried.append([])
        with suppress(KeyError):
            # As a database answers that is asked for so many.
            rounds.each(rounds.due(left[: rounds.asked]), work)

    for _ in range(6):
        once()
    assert tried == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 0, 1], [2, 3, 4], [5, 6, 0]]
    broken.clear()
    for _ in range(3):
        once()
    assert left == []


def test_what_is_done_in_the_end_is_no_failure_any_more() -> None:
    rounds = Rounds[str](3)
    with pytest.raises(KeyError):
        rounds.each(rounds.due("ab"), dict[str, int]().__getitem__)
    assert rounds.failed("a")
    rounds.each(rounds.due("ab"), str)
    assert not rounds.failed("a")
    assert rounds.asked == 3
