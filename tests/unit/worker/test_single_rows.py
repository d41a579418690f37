"""Rows that come alone: run where they came in, answered as the engine answers, and never lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from services.common.clock import SystemClock
from services.worker.engine.engine import EngineOutput
from services.worker.engine.inline import Inline
from services.worker.front_end.runner import Runner
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.records import (
    BatchAnswer,
    Outcome,
    PieceRecord,
    RequestFeed,
    RequestRecord,
    pack_batch,
)
from tests.unit.worker.served import FAR, SIGNATURE, ask, doubled, failure, told_the_engine

_WATCHED = 8
"""Of rows that come alone, each one so many waits for others."""


class _Program:
    """Runs rows, and notes which."""

    def __init__(self) -> None:
        self.ran: list[float] = []

    def begin(self, inputs: Sequence[Any]) -> EngineOutput:
        self.ran += inputs[0].ravel().tolist()
        return doubled(inputs)


class _Version:
    """A front-end that runs rows itself, before an engine that is the test."""

    def __init__(self) -> None:
        self.exchange = Exchange(SIGNATURE, 8)
        self.program = _Program()
        self.batches: list[Any] = []
        self._feed = RequestFeed()
        self.runner = Runner(
            self.exchange,
            SystemClock(),
            classifies=True,
            on_batch=lambda record, _: self.batches.append(record),
            on_lost=lambda: None,
            here=Inline(self.program),  # type: ignore[arg-type] # as far as it is used
        )

    def told(self) -> list[RequestRecord]:
        """What the engine was told since it was looked at last."""
        return list(self._feed.feed(self.exchange.requests.read() or b""))

    def answer(self, *records: RequestRecord) -> None:
        """Answers as the engine does, with what lies in the inputs."""
        for record in records:
            rows = slice(record.first, record.first + record.rows)
            self.exchange.outputs[0][rows] = self.exchange.inputs[0][rows] * 3
            self.exchange.finite[rows] = True
        pieces = tuple(PieceRecord(record.number, record.rows) for record in records)
        rows_of_all = sum(record.rows for record in records)
        batch = BatchAnswer(rows_of_all, 8, 1.0, 0.001, Outcome.RAN, True, True, pieces)
        self.exchange.answers.write_all(pack_batch(batch))


@pytest.fixture
async def version() -> AsyncIterator[_Version]:
    made = _Version()
    yield made
    made.runner.close()


@asynccontextmanager
async def _one_that_waits(version: _Version) -> AsyncIterator[Any]:
    """A request that is held back for others, which may come."""
    for number in range(_WATCHED - 1):
        await ask(version.runner, [float(number)])
    del version.program.ran[:]
    request = version.runner.submit([np.array([[50.0]])], 1, FAR)
    assert not request.answer.done()
    yield request


async def test_a_row_alone_is_answered_without_the_engine(version: _Version) -> None:
    for number in range(100):
        answer = await ask(version.runner, [float(number)])
        assert answer.outputs[0].tolist() == [[2.0 * number]]
        assert answer.classes == [number % 7]
        assert answer.bad_row is None
    assert version.program.ran == [float(number) for number in range(100)]
    assert [(batch.rows, batch.counted) for batch in version.batches] == [(1, True)] * 100
    assert version.told() == []
    assert version.runner.waiting == 0


async def test_what_comes_together_goes_to_the_engine_in_order(version: _Version) -> None:
    async with _one_that_waits(version) as first:
        second = version.runner.submit([np.array([[60.0]])], 1, FAR)
        await told_the_engine()
        records = version.told()
        assert [record.number for record in records] == [first.number, second.number]
        version.answer(*records)
        answers = [await one.answer for one in (first, second)]
    assert [answer.outputs[0].tolist() for answer in answers] == [[[150.0]], [[180.0]]]
    assert version.program.ran == []


async def test_nobody_else_comes_while_one_waits(version: _Version) -> None:
    async with _one_that_waits(version) as request:
        assert (await request.answer).outputs[0].tolist() == [[100.0]]
    assert version.program.ran == [50.0]


async def test_whoever_gives_up_while_it_waits_leaves_nothing_behind(version: _Version) -> None:
    async with _one_that_waits(version) as request:
        version.runner.release(request)
        assert version.runner.waiting == 0
        await told_the_engine()
    assert version.program.ran == []
    assert version.told() == []
    # All of the memory is there for others.
    wide = version.runner.submit([np.zeros((version.exchange.bound, 1))], version.exchange.bound, FAR)
    assert wide.first == 0


async def test_one_that_waits_at_the_end_is_told_so(version: _Version) -> None:
    async with _one_that_waits(version) as request:
        version.runner.close()
        assert (await failure(request.answer)).reason == "DRAINING"
        await told_the_engine()
    assert version.program.ran == []


async def test_a_deadline_that_has_passed_is_not_run(version: _Version) -> None:
    assert (await failure(ask(version.runner, [1.0], deadline=0.0))).reason == "DEADLINE_EXCEEDED"
    assert version.program.ran == []
    assert (await ask(version.runner, [2.0])).outputs[0].tolist() == [[4.0]]


async def test_what_the_program_raises_and_what_is_not_finite_is_told(version: _Version) -> None:
    error = await failure(ask(version.runner, [float("nan")]))
    assert (error.reason, "NaN came in" in str(error)) == ("MODEL_RAISED", True)
    assert (await ask(version.runner, [float("inf")])).bad_row == 0
    assert (await ask(version.runner, [3.0])).bad_row is None


async def test_requests_of_many_rows_are_the_engines(version: _Version) -> None:
    asked = asyncio.create_task(ask(version.runner, [1.0, 2.0]))
    await told_the_engine()
    version.answer(*version.told())
    assert (await asked).outputs[0].ravel().tolist() == [3.0, 6.0]
    assert version.program.ran == []
