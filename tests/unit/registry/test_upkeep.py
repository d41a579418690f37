"""Upkeep goes on through failures, and ends when it is told to."""

import asyncio
import threading
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import OperationalError
from structlog.testing import LogCapture

from registry.offload import Offload
from registry.upkeep import Upkeep
from services.common.errors import AbortedError, FailedPreconditionError, NotFoundError, UnavailableError
from tests.fakes.clock import ManualClock
from tests.support.wait import until

AWAY = UnavailableError("DATABASE_UNAVAILABLE", "the database does not answer")


class House:
    """Upkeep of things that fail as a test wants; the database is asked on a thread, as by the Registry."""

    def __init__(self, silent_seconds: float = 30.0) -> None:
        self.sweeping = threading.Event()
        self.answer = threading.Event()
        self.fails: dict[str, Exception] = {}
        self.done: list[str] = []
        self.answers: list[bool] = []
        self.times_lost = 0
        unused: Any = None
        self.lines = LogCapture()
        self.offload = Offload(unused, 2, "upkeep")
        me: Any = self
        self.upkeep = Upkeep(
            me,
            me,
            unused,
            unused,
            self.offload,
            ManualClock(),
            structlog.wrap_logger(structlog.PrintLogger(), processors=[self.lines]),
            self._heard,
            sweep_seconds=0.0,
            silent_seconds=silent_seconds,
        )

    def sweep(self, *, deadline: float) -> None:
        """Ends leases."""
        self.sweeping.set()
        assert self.answer.wait(30.0)
        self._do("sweep", deadline)

    def expire(self, *, deadline: float) -> None:
        """Ends what was loaded for a while."""
        self._do("expire", deadline)

    def lost_sight(self) -> None:
        """Nobody knows for how long reports could not be written."""
        self.times_lost += 1

    def _do(self, what: str, deadline: float) -> None:
        assert deadline > 0
        self.done.append(what)
        if what in self.fails:
            raise self.fails[what]

    async def _heard(self, answers: bool) -> None:
        self.answers.append(answers)


async def test_it_ends_while_the_database_is_away() -> None:
    """Told to end amid a sweep, it must not take what the rest of the round meets for the end of the round."""
    house = House()
    house.fails = dict.fromkeys(("sweep", "expire"), AWAY)
    running = asyncio.create_task(house.upkeep.run())
    await until(house.sweeping.is_set)
    running.cancel()
    await asyncio.wait({running}, timeout=5.0)
    house.answer.set()
    assert running.cancelled()
    house.offload.close()


async def test_the_log_says_once_why_the_database_does_not_answer() -> None:
    house = House()
    house.answer.set()
    away = UnavailableError("DATABASE_UNAVAILABLE", "the database does not answer")
    away.__cause__ = OperationalError("SELECT 1", {"a": "secret"}, Exception("FATAL:  too many clients already"))
    house.fails = {"sweep": away}
    for _ in range(2):
        await house.upkeep.once()
    (line,) = house.lines.entries
    assert line["said"] == "FATAL:  too many clients already"
    house.offload.close()


async def test_a_database_that_says_nothing_does_not_answer() -> None:
    """A server that stands still ends no statement, however long that takes."""
    house = House(silent_seconds=0.01)
    running = asyncio.create_task(house.upkeep.once())
    await until(lambda: bool(house.answers))
    assert (house.answers, house.times_lost, running.done()) == ([False], 1, False)
    house.answer.set()
    await running
    assert house.answers[-1]
    assert house.done == ["sweep", "expire"]
    house.offload.close()


@pytest.mark.parametrize("fails", [("sweep",), ("expire",), ("sweep", "expire")])
async def test_one_failure_leaves_the_other_work_to_be_done(fails: tuple[str, ...]) -> None:
    house = House()
    house.answer.set()
    house.fails = dict.fromkeys(fails, AWAY)
    await house.upkeep.once()
    house.fails = {}
    await house.upkeep.once()
    assert house.done == ["sweep", "expire"] * 2
    assert house.answers == [False, True]
    house.offload.close()


async def test_what_nobody_expected_of_the_sweep_leaves_the_other_work_to_be_done() -> None:
    house = House()
    house.answer.set()
    house.fails = {"sweep": KeyError("one model's lane names what is not there")}
    await house.upkeep.once()
    assert house.done == ["sweep", "expire"]
    assert house.answers == [True]
    house.offload.close()


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (AWAY, 1),
        (AbortedError("CHANGED", "others were faster"), 0),
        (FailedPreconditionError("LEDGER_DAMAGED", "one model is held up"), 0),
        (NotFoundError("MODEL_NOT_FOUND", "one model's row is gone"), 0),
        (KeyError("one model's lane names what is not there"), 0),
    ],
)
async def test_leases_get_their_length_anew_after_the_database_was_away_and_only_then(
    error: Exception, lost: int
) -> None:
    house = House()
    house.answer.set()
    house.fails = {"sweep": error}
    await house.upkeep.once()
    assert (house.times_lost, house.answers) == (lost, [not lost])
    house.fails = {}
    await house.upkeep.once()
    assert (house.times_lost, house.answers[-1]) == (lost, True)
    house.offload.close()
