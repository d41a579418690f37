"""Upkeep goes on past what cannot be kept up."""

import pytest

from registry.service.each import for_each
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
