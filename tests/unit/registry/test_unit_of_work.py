"""The unit of work's time: nothing is carried out after its caller was told that it was not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from sqlalchemy import Engine

from registry.database.unit_of_work import SqlUnitOfWork
from services.common.errors import DeadlineExceededError
from tests.fakes.clock import ManualClock


class Opened:
    """An engine that nobody should reach."""

    def __init__(self) -> None:
        self.connections = 0

    @contextmanager
    def connect(self) -> Iterator[Any]:
        self.connections += 1
        raise AssertionError("connected after the deadline")
        yield


def test_a_turn_that_comes_after_the_deadline_carries_nothing_out() -> None:
    clock, engine = ManualClock(), Opened()
    unit = SqlUnitOfWork(cast("Engine", engine), clock, lambda revision: None, lambda *told: None)
    entered = threading.Event()

    class Late:
        """A turn that takes longer than the caller waits."""

        def acquire(self, timeout: float) -> bool:
            assert timeout <= 0.25
            entered.set()
            clock.advance(1.0)
            return True

        def release(self) -> None:
            pass

    unit._turn = cast("threading.Lock", Late())
    with pytest.raises(DeadlineExceededError):
        unit.run(lambda transaction: None, deadline=clock.monotonic() + 0.25, exclusive=True)
    assert entered.is_set()
    assert engine.connections == 0
