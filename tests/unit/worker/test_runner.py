"""Requests through an engine: run together, each answered once, with its own rows."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.common.clock import SystemClock
from services.worker.engine.engine import EngineOutput
from services.worker.front_end.runner import Runner
from services.worker.shared_memory.exchange import Exchange
from tests.unit.worker.served import SIGNATURE, Gate, ask, served, told_the_engine


@pytest.mark.parametrize("front_ends", [1, 3])
async def test_everyone_gets_their_own_rows(front_ends: int) -> None:
    sizes = [1, 2, 11, 4, 5, 1, 1, 30] * 10
    asked = [[float(number * 100 + row) for row in range(size)] for number, size in enumerate(sizes)]
    async with served(front_ends=front_ends) as runners:
        answers = await asyncio.gather(
            *(ask(runners[number % front_ends], values) for number, values in enumerate(asked))
        )
    for values, answer in zip(asked, answers, strict=True):
        assert answer.outputs[0].ravel().tolist() == [2 * value for value in values]
        assert answer.classes == [int(value) % 7 for value in values]
        assert answer.bad_row is None
        assert answer.queue_seconds >= 0


async def test_memory_is_handed_on_a_thousand_times() -> None:
    async with served(max_rows=8, queue_rows=16) as (runner,):

        async def one(first: int) -> None:
            for number in range(first, first + 400):
                answer = await ask(runner, [float(number)] * (1 + number % 5))
                assert answer.outputs[0].ravel().tolist() == [2.0 * number] * (1 + number % 5)

        await asyncio.gather(one(0), one(1000), one(2000))


async def test_those_that_wait_run_together_and_are_counted_by_one_front_end() -> None:
    gate, told = Gate(), list[Any]()
    async with served(gate, max_rows=8, front_ends=2, told=told) as runners:
        first = asyncio.create_task(ask(runners[0], [0.0]))
        await gate.until_begun()
        others = [asyncio.create_task(ask(runners[number % 2], [float(number)])) for number in range(1, 13)]
        await told_the_engine()
        gate.go.set()
        await asyncio.gather(first, *others)
    assert [len(batch) for batch in gate.ran] == [1, 8, 4]
    assert sorted(record.rows for record in told if record.counted) == [1, 4, 8]


async def test_what_lies_together_is_not_copied() -> None:
    seen: list[Any] = []
    gate = Gate()

    def noted(inputs: Sequence[Any]) -> EngineOutput:
        seen.append(inputs[0])
        return gate(inputs)

    async with served(noted, max_rows=8) as (runner,):
        first = asyncio.create_task(ask(runner, [0.0]))
        await gate.until_begun()
        others = [asyncio.create_task(ask(runner, [1.0, 2.0])) for _ in range(3)]
        await told_the_engine()
        gate.go.set()
        await asyncio.gather(first, *others)
        assert seen[1].shape == (6, 1)
        assert not seen[1].flags.owndata


@pytest.mark.parametrize("front_ends", [1, 2])
async def test_only_bad_rows_are_bad(front_ends: int) -> None:
    gate = Gate()
    async with served(gate, max_rows=100, front_ends=front_ends) as runners:
        first = asyncio.create_task(ask(runners[0], [9.0]))
        await gate.until_begun()
        values = [[1.0], [float("inf"), 2.0], [3.0], [4.0, float("inf")]]
        asked = [asyncio.create_task(ask(runners[n % front_ends], one)) for n, one in enumerate(values)]
        await told_the_engine()
        gate.go.set()
        answers = await asyncio.gather(first, *asked)
    assert [answer.bad_row for answer in answers] == [None, None, 0, None, 1]


async def test_an_engine_that_has_ended_is_noticed() -> None:
    exchange, lost = Exchange(SIGNATURE, 8), asyncio.Event()
    runner = Runner(exchange, SystemClock(), classifies=False, on_batch=lambda *_: None, on_lost=lost.set)
    exchange.answers.close_writing()
    async with asyncio.timeout(10):
        await lost.wait()
    runner.close()


async def test_pauses_do_not_lose_anything() -> None:
    async with served(max_rows=16, pause_seconds=0.0002) as (runner,):

        async def one(first: int) -> None:
            for number in range(first, first + 100):
                assert (await ask(runner, [float(number)])).outputs[0].tolist() == [[2.0 * number]]

        await asyncio.gather(*(one(1000 * number) for number in range(8)))
