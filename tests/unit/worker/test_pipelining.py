"""A device that runs by itself: what it is handed before it is done, over real shared memory and pipes."""

import asyncio
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from services.worker.engine.engine import EngineOutput
from tests.support.wait import until
from tests.unit.worker.served import FAR, ask, doubled, failure, served, told_the_engine


class Chip:
    """Runs batches one after another on a thread of its own, each when it is let, and notes what happened."""

    def __init__(self) -> None:
        self.turns = threading.Semaphore(0)
        self.begun: list[list[float]] = []
        self.under_way = 0
        self.most = 0

    def __call__(self, inputs: Sequence[Any]) -> "Batch":
        """Takes a copy, as one to a device's memory is."""
        rows = inputs[0].copy()
        self.begun.append(rows.ravel().tolist())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return Batch(self, rows)

    def let(self, batches: int) -> None:
        """Lets so many batches end."""
        self.turns.release(batches)


class Batch:
    """One of the chip's batches."""

    def __init__(self, chip: Chip, rows: Any) -> None:
        self._chip = chip
        self._rows = rows

    def wait(self) -> EngineOutput:
        """Twice each value; more than three rows of which one is 7 are too many for the memory."""
        assert self._chip.turns.acquire(timeout=10)
        self._chip.under_way -= 1
        if len(self._rows) > 2 and (self._rows == 7).any():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return doubled([self._rows])


async def test_a_full_batch_is_handed_over_before_the_one_before_it_is_done() -> None:
    chip = Chip()
    async with served(chip, max_rows=4, front_ends=2) as runners:
        first = asyncio.create_task(ask(runners[0], [0.0]))
        await until(lambda: len(chip.begun) == 1)
        others = [asyncio.create_task(ask(runners[number % 2], [float(number)])) for number in range(1, 11)]
        await told_the_engine()
        await until(lambda: len(chip.begun) == 1)
        # The chip is asked for its first batch; eight of the ten then go in full batches, the last two when it is free.
        chip.let(4)
        answers = await asyncio.gather(first, *others)
    assert [len(batch) for batch in chip.begun] == [1, 4, 4, 2]
    assert chip.most == 2
    assert [answer.outputs[0].item() for answer in answers] == [2.0 * number for number in range(11)]


async def test_one_that_is_not_full_waits_and_grows() -> None:
    chip = Chip()
    async with served(chip, max_rows=4) as (runner,):
        first = asyncio.create_task(ask(runner, [0.0]))
        await until(lambda: len(chip.begun) == 1)
        others = [asyncio.create_task(ask(runner, [float(number)])) for number in range(1, 4)]
        await told_the_engine()
        assert len(chip.begun) == 1
        chip.let(2)
        await asyncio.gather(first, *others)
    assert [len(batch) for batch in chip.begun] == [1, 3]
    assert chip.most == 1


async def test_requests_that_are_cut_and_ones_given_up_meanwhile_are_each_answered_once() -> None:
    chip = Chip()
    chip.let(10_000)
    async with served(chip, max_rows=4, queue_rows=100) as (runner,):

        async def one(number: int) -> None:
            size = 1 + number % 11
            values = [float(100 * number + row) for row in range(size)]
            if number % 5 == 0:
                runner.release(runner.submit([np.array(values).reshape(-1, 1)], size, FAR))
                return
            answer = await ask(runner, values)
            assert answer.outputs[0].ravel().tolist() == [2 * value for value in values]

        for start in range(0, 200, 8):
            await asyncio.gather(*(one(number) for number in range(start, start + 8)))
        await until(lambda: runner.waiting == 0)
    assert chip.under_way == 0


async def test_too_little_memory_shows_late_and_the_next_batch_is_none_the_worse() -> None:
    chip = Chip()
    async with served(chip, max_rows=4) as (runner,):
        first = asyncio.create_task(ask(runner, [0.0]))
        await until(lambda: len(chip.begun) == 1)
        others = [asyncio.create_task(ask(runner, [float(number)])) for number in (7, 1, 2, 3, 4, 5, 6, 8)]
        await told_the_engine()
        chip.let(20)
        answers = await asyncio.gather(first, *others)
    assert [answer.outputs[0].item() for answer in answers] == [2.0 * n for n in (0, 7, 1, 2, 3, 4, 5, 6, 8)]


async def test_what_was_out_of_memory_holds_none_of_it_while_its_halves_run() -> None:
    held: list[weakref.ref[Any]] = []

    class Activations:
        """What a program has computed when it fails."""

    def hungry(inputs: Sequence[Any]) -> EngineOutput:
        assert all(one() is None for one in held)
        activations = Activations()
        held.append(weakref.ref(activations))
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return doubled(inputs)

    async with served(hungry, max_rows=8) as (runner,):
        answer = await ask(runner, [float(number) for number in range(8)])
    assert answer.outputs[0].ravel().tolist() == [2.0 * number for number in range(8)]
    # 8, 4, 2, 2, 4, 2, 2.
    assert len(held) == 7


async def test_a_part_that_hangs_behind_another_batch_is_seen_to_run() -> None:
    chip = Chip()
    async with served(chip, max_rows=2) as (runner,):
        first = asyncio.create_task(ask(runner, [0.0]))
        await until(lambda: len(chip.begun) == 1)
        whole, cut = (asyncio.create_task(ask(runner, values)) for values in ([1.0, 2.0], [3.0, 4.0, 5.0]))
        await told_the_engine()
        chip.let(1)
        await until(lambda: chip.begun[1:] == [[1.0, 2.0], [3.0, 4.0]])
        chip.let(1)
        await asyncio.gather(first, whole)
        # Two rows of three are on the chip, and nothing else.
        await until(lambda: float(runner.exchange.busy_since[0]) > 0)
        chip.let(2)
        await cut
        await until(lambda: float(runner.exchange.busy_since[0]) == 0)


async def test_a_batch_that_cannot_begin_fails_alone() -> None:
    def refuses(inputs: Sequence[Any]) -> EngineOutput:
        if inputs[0][0, 0] == 7:
            raise RuntimeError("no")
        return doubled(inputs)

    async with served(refuses) as (runner,):
        error = await failure(ask(runner, [7.0]))
        assert error.reason == "MODEL_RAISED"
        assert (await ask(runner, [1.0])).outputs[0].item() == pytest.approx(2.0)
