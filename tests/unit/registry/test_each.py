"""Upkeep goes on past what cannot be kept up."""

import pytest

from registry.service.each import for_each
from services.common.errors import FailedPreconditionError


def test_all_others_are_done_and_the_first_failure_is_told() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number % 2:
            raise FailedPreconditionError("LEDGER_BROKEN", f"the ledger of m{number} is broken")
        done.append(number)

    with pytest.raises(FailedPreconditionError, match="m1"):
        for_each(range(5), work)
    assert done == [0, 2, 4]
