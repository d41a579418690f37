"""Programs that raise, answer with other shapes or need too much memory, and who is told of it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.clock import SystemClock
from services.common.errors import CrossfadeError
from services.worker.engine.engine import EngineOutput
from services.worker.front_end.requests import Answer
from tests.unit.worker.served import SIGNATURE, Gate, ask, doubled, failure, served, told_the_engine


async def test_a_program_that_raises_fails_its_batch_and_no_other() -> None:
    async with served(max_rows=2) as (runner,):
        results = await asyncio.gather(
            failure(ask(runner, [float("nan")] * 5)), ask(runner, [1.0, 2.0]), ask(runner, [3.0])
        )
        error = results[0]
        assert isinstance(error, CrossfadeError)
        assert (error.reason, "ValueError: NaN came in" in error.message) == ("MODEL_RAISED", True)
        assert all(isinstance(result, Answer) for result in results[1:])
        assert (await ask(runner, [4.0])).outputs[0].tolist() == [[8.0]]


async def test_of_a_batch_that_raises_only_those_fail_that_it_raises_for() -> None:
    gate = Gate()
    told: list[Any] = []
    async with served(gate, max_rows=64, told=told, front_ends=2) as runners:
        first = asyncio.create_task(ask(runners[0], [9.0]))
        await gate.until_begun()
        values = [[float(number)] if number not in (5, 17) else [1.0, float("nan")] for number in range(24)]
        asked = [asyncio.create_task(ask(runners[n % 2], one)) for n, one in enumerate(values)]
        await told_the_engine()
        gate.go.set()
        await first
        results = await asyncio.gather(*asked, return_exceptions=True)
    for number, result in enumerate(results):
        if number in (5, 17):
            assert isinstance(result, CrossfadeError)
            assert result.reason == "MODEL_RAISED"
        else:
            assert isinstance(result, Answer)
            assert result.outputs[0].tolist() == [[2.0 * number]]
    # Each of the others was in one batch that ran; halving takes few runs to find two of 24.
    assert sum(record.rows for record in told if record.counted) == 1 + 22
    assert len(gate.ran) < 1 + 20


async def test_a_program_that_always_raises_is_not_run_for_each_request() -> None:
    gate, runs = Gate(), 0

    def refuses(inputs: Sequence[Any]) -> EngineOutput:
        nonlocal runs
        runs += 1
        gate(inputs)
        raise ValueError("never")

    async with served(refuses, max_rows=64) as (runner,):
        first = asyncio.create_task(failure(ask(runner, [0.0])))
        await gate.until_begun()
        others = [asyncio.create_task(failure(ask(runner, [1.0]))) for _ in range(64)]
        await told_the_engine()
        gate.go.set()
        errors = await asyncio.gather(first, *others)
    assert {(error.reason, error.message.endswith("ValueError: never")) for error in errors} == {("MODEL_RAISED", True)}
    assert runs <= 2 + 4 * 7


async def test_whoever_is_too_late_for_another_run_is_told_so() -> None:
    gate, due = Gate(), SystemClock().monotonic() + 0.5

    def late(inputs: Sequence[Any]) -> EngineOutput:
        if np.isnan(inputs[0]).any():
            time.sleep(max(0.0, due - SystemClock().monotonic()))
        return gate(inputs)

    async with served(late, max_rows=64) as (runner,):
        first = asyncio.create_task(ask(runner, [0.0]))
        await gate.until_begun()
        culprit = asyncio.create_task(failure(ask(runner, [float("nan")])))
        hurried = asyncio.create_task(failure(ask(runner, [1.0], deadline=due)))
        patient = asyncio.create_task(ask(runner, [2.0]))
        await told_the_engine()
        gate.go.set()
        await first
        assert (await hurried).reason == "DEADLINE_EXCEEDED"
        assert (await culprit).reason == "MODEL_RAISED"
        assert (await patient).outputs[0].tolist() == [[4.0]]


async def test_what_raises_is_told_from_what_is_too_large() -> None:
    gate = Gate()

    def small(inputs: Sequence[Any]) -> EngineOutput:
        if len(inputs[0]) > 2 or (inputs[0] == 8.0).any():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gate(inputs)

    async with served(small, max_rows=64) as (runner,):
        first = asyncio.create_task(ask(runner, [0.0]))
        await gate.until_begun()
        values = [1.0, float("nan"), 2.0, 8.0]
        asked = [asyncio.create_task(ask(runner, [value])) for value in values]
        await told_the_engine()
        gate.go.set()
        await first
        results = await asyncio.gather(*asked, return_exceptions=True)
    assert [getattr(result, "reason", "") for result in results] == ["", "MODEL_RAISED", "", "OUT_OF_MEMORY"]


async def test_a_program_that_gives_too_few_rows_is_none_of_the_others_answers() -> None:
    def short(inputs: Sequence[Any]) -> EngineOutput:
        return EngineOutput((inputs[0][:-1],), None, None)

    async with served(short) as (runner,):
        error = await failure(ask(runner, [1.0, 2.0]))
    assert (error.reason, "[1] rows for 2" in error.message) == ("MODEL_RAISED", True)


@pytest.mark.parametrize("given", [(), ((5,),), ((),), ((2,), (2,)), ((2, 1),)])
async def test_a_program_that_gives_other_shapes_fails_its_callers_and_not_the_engine(given: Any) -> None:
    signature = Signature(SIGNATURE.inputs, (TensorSpec("y", DType.FP64, (-1, 2)),))

    def other(inputs: Sequence[Any]) -> EngineOutput:
        rows = len(inputs[0])
        shapes = given if (inputs[0] < 0).any() else ((2,),)
        return EngineOutput(tuple(np.ones((rows, *shape)) for shape in shapes), None, np.zeros(rows, np.int64))

    async with served(other, signature=signature) as (runner,):
        error = await failure(ask(runner, [-1.0, 1.0]))
        assert (error.reason, "its outputs' are [[2]]" in error.message) == ("MODEL_RAISED", True)
        assert (await ask(runner, [1.0])).outputs[0].tolist() == [[1.0, 1.0]]


async def test_a_value_is_not_spread_over_its_row() -> None:
    signature = Signature(SIGNATURE.inputs, (TensorSpec("y", DType.FP64, (-1, 3)),))
    async with served(doubled, signature=signature) as (runner,):
        error = await failure(ask(runner, [1.0, 2.0]))
    assert (error.reason, "shapes [[1]]" in error.message) == ("MODEL_RAISED", True)


async def test_out_of_memory_makes_batches_smaller() -> None:
    sizes: list[int] = []

    def small(inputs: Sequence[Any]) -> EngineOutput:
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return doubled(inputs)

    async with served(small, max_rows=16) as (runner,):
        answer = await ask(runner, [float(number) for number in range(16)])
        assert answer.outputs[0].ravel().tolist() == [2.0 * number for number in range(16)]
        assert sizes == [16, 8, 4, 2, 2, 4, 2, 2, 8, 4, 2, 2, 4, 2, 2]
        await ask(runner, [1.0] * 4)
        assert sizes[15:] == [2, 2]


async def test_memory_for_not_even_one_row() -> None:
    def nothing(_: Sequence[Any]) -> EngineOutput:
        raise torch.OutOfMemoryError("CUDA out of memory")

    async with served(nothing) as (runner,):
        error = await failure(ask(runner, [1.0, 2.0]))
    assert (error.reason, "send it again later" in error.message) == ("OUT_OF_MEMORY", True)
