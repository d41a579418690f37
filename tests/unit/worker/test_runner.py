"""Requests through an engine that a test makes up, over real shared memory and pipes: each answered once, with its own
rows."""

import asyncio
import contextlib
import fcntl
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from crossfade.manifest import DType, Signature, TensorSpec
from services.common.clock import SystemClock
from services.common.errors import CrossfadeError, ResourceExhaustedError
from services.worker.engine.batcher import Batcher
from services.worker.engine.device import Device, Work
from services.worker.engine.engine import EngineOutput
from services.worker.engine.runs import Run
from services.worker.front_end.runner import Answer, Runner
from services.worker.shared_memory.exchange import Exchange
from tests.support.wait import until

FAR = 1e12
SIGNATURE = Signature((TensorSpec("x", DType.FP64, (-1, 1)),), (TensorSpec("y", DType.FP64, (-1, 1)),))


def doubled(inputs: Sequence[Any]) -> EngineOutput:
    """Twice each value; an infinity makes its row bad, a NaN raises."""
    (rows,) = inputs
    if np.isnan(rows).any():
        raise ValueError("NaN came in")
    finite = np.isfinite(rows).all(axis=1)
    classes = np.nan_to_num(rows[:, 0], posinf=0).astype(np.int64) % 7
    return EngineOutput((rows * 2,), None if finite.all() else finite, classes)


@contextlib.asynccontextmanager
async def served(
    run: Run = doubled,
    *,
    max_rows: int = 4,
    queue_rows: int = 1000,
    front_ends: int = 1,
    pause_seconds: float = 0.0,
    told: list[Any] | None = None,
    signature: Signature = SIGNATURE,
) -> AsyncIterator[list[Runner]]:
    """Front-ends, and the engine on a thread as it else runs in a process."""
    exchanges = [Exchange(signature, queue_rows + max_rows) for _ in range(front_ends)]
    batcher: Batcher[Work] = Batcher(max_rows, queue_rows)
    device = Device(run, batcher, exchanges, SystemClock(), pause_seconds)
    lost = asyncio.Event()

    def on_batch(record: Any, tags: Sequence[object]) -> object:
        if told is not None:
            told.append(record)
        return record.rows, len(tags)

    runners = [
        Runner(exchange, SystemClock(), classifies=True, on_batch=on_batch, on_lost=lost.set) for exchange in exchanges
    ]
    thread = threading.Thread(target=device.serve)
    thread.start()
    try:
        async with asyncio.timeout(30):
            yield runners
    finally:
        for runner in runners:
            runner.close()
        if isinstance(run, Gate):
            run.go.set()
        await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def ask(runner: Runner, values: Sequence[float], deadline: float = FAR) -> Answer:
    """One request; what its answer holds is copied, for its rows are handed on."""
    rows = np.array(values, dtype=np.float64).reshape(-1, 1)
    request = runner.submit([rows], len(rows), deadline)
    try:
        answer = await request.answer
        return answer._replace(outputs=[output.copy() for output in answer.outputs])
    finally:
        runner.release(request)


async def told_the_engine() -> None:
    """Lets tasks begin, and what they submit be written at the end of the loop's turn."""
    for _ in range(3):
        await asyncio.sleep(0)


async def failure(work: Any) -> CrossfadeError:
    with pytest.raises(CrossfadeError) as raised:
        await work
    return raised.value


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
        assert answer.finite
        assert answer.queue_seconds >= 0


async def test_memory_is_handed_on_a_thousand_times() -> None:
    async with served(max_rows=8, queue_rows=16) as (runner,):

        async def one(first: int) -> None:
            for number in range(first, first + 400):
                answer = await ask(runner, [float(number)] * (1 + number % 5))
                assert answer.outputs[0].ravel().tolist() == [2.0 * number] * (1 + number % 5)

        await asyncio.gather(one(0), one(1000), one(2000))


class Gate:
    """A program that runs when it is let, and notes what it ran."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.ran: list[list[float]] = []

    def __call__(self, inputs: Sequence[Any]) -> EngineOutput:
        """Waits for `go`, then doubles."""
        self.begun.set()
        assert self.go.wait(10)
        self.ran.append(inputs[0].ravel().tolist())
        return doubled(inputs)

    async def until_begun(self) -> None:
        """Waits until a batch has been begun."""
        assert await asyncio.to_thread(self.begun.wait, 10)


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
    assert [answer.finite for answer in answers] == [True, True, False, True, False]


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


async def test_what_waits_too_long_or_too_many_is_refused() -> None:
    gate = Gate()
    async with served(gate, max_rows=1, queue_rows=2) as (runner,):
        first = asyncio.create_task(ask(runner, [1.0]))
        await gate.until_begun()
        late = asyncio.create_task(failure(ask(runner, [2.0], deadline=0.0)))
        cancelled = runner.submit([np.full((1, 1), 3.0)], 1, FAR)
        await asyncio.sleep(0)
        # This front-end knows of three itself; what the engine alone can refuse is the next test's.
        full = await failure(ask(runner, [4.0]))
        assert full.reason == "QUEUE_FULL"
        assert isinstance(full, ResourceExhaustedError)
        # No batch has run yet.
        assert full.retry_seconds == 0.1
        runner.release(cancelled)
        await told_the_engine()
        gate.go.set()
        assert (await late).reason == "DEADLINE_EXCEEDED"
        assert (await first).outputs[0].tolist() == [[2.0]]
        assert (await ask(runner, [5.0])).outputs[0].tolist() == [[10.0]]
    assert gate.ran == [[1.0], [5.0]]
    assert not cancelled.answer.done()


async def test_front_ends_share_the_bound_of_the_queue() -> None:
    gate = Gate()
    async with served(gate, max_rows=1, queue_rows=2, front_ends=2) as runners:
        first = asyncio.create_task(ask(runners[0], [1.0]))
        await gate.until_begun()
        waiting = [asyncio.create_task(ask(runners[0], [2.0])), asyncio.create_task(ask(runners[0], [3.0]))]
        await asyncio.sleep(0)
        refused = asyncio.create_task(failure(ask(runners[1], [4.0])))
        await told_the_engine()
        gate.go.set()
        assert (await refused).reason == "QUEUE_FULL"
        await asyncio.gather(first, *waiting)


async def test_a_front_end_that_ends_takes_no_others_answers_along() -> None:
    gate = Gate()
    async with served(gate, max_rows=8, front_ends=2) as runners:
        first = asyncio.create_task(ask(runners[0], [1.0]))
        await gate.until_begun()
        left = asyncio.create_task(failure(ask(runners[1], [2.0])))
        await asyncio.sleep(0)
        mine = [asyncio.create_task(ask(runners[0], [float(number)])) for number in range(3, 6)]
        await asyncio.sleep(0)
        await told_the_engine()
        runners[1].close()
        gate.go.set()
        assert (await left).reason == "DRAINING"
        answers = await asyncio.gather(first, *mine)
        assert [answer.outputs[0].item() for answer in answers] == [2.0, 6.0, 8.0, 10.0]


async def test_a_full_pipe_keeps_nobody_from_watching() -> None:
    gate = Gate()
    async with served(gate, max_rows=64) as (runner,):
        fcntl.fcntl(runner.exchange.requests.writing, fcntl.F_SETPIPE_SZ, 4096)
        first = asyncio.create_task(ask(runner, [0.0]))
        await gate.until_begun()
        waiting = [asyncio.create_task(ask(runner, [float(number)])) for number in range(900)]
        # Far more than the pipe holds, and the loop goes on.
        for _ in range(10):
            await asyncio.sleep(0)
        assert not gate.go.is_set()
        gate.go.set()
        answers = await asyncio.gather(first, *waiting)
    assert [answer.outputs[0].item() for answer in answers] == [0.0, *(2.0 * number for number in range(900))]


async def test_a_thousand_cancelled_requests_leave_nothing_behind() -> None:
    gate = Gate()
    async with served(gate, max_rows=1, queue_rows=4) as (runner,):
        first = asyncio.create_task(ask(runner, [1.0]))
        await gate.until_begun()
        for _ in range(2):
            runner.release(runner.submit([np.zeros((2, 1))], 2, FAR))
        gate.go.set()
        await first
        for _ in range(1000):
            with contextlib.suppress(CrossfadeError):
                runner.release(runner.submit([np.zeros((1, 1))], 1, FAR))
            await asyncio.sleep(0)
        await until(lambda: runner.waiting == 0)
        assert len((await ask(runner, [1.0] * 4)).classes) == 4


async def test_more_rows_than_an_answer_carries_are_refused() -> None:
    async with served() as (runner,):
        rows = np.zeros((1, 1)).repeat(runner.largest + 1, axis=0)
        with pytest.raises(CrossfadeError) as refused:
            runner.submit([rows], len(rows), FAR)
    assert (refused.value.reason, str(runner.largest) in refused.value.message) == ("INPUT_SHAPE", True)


async def test_without_a_deadline_a_request_is_ended_all_the_same() -> None:
    gate = Gate()
    async with served(gate) as (runner,):
        request = runner.submit([np.zeros((1, 1))], 1, FAR)
        await gate.until_begun()
        runner.expire(request)
        assert (await failure(request.answer)).reason == "DEADLINE_EXCEEDED"
        runner.release(request)
        gate.go.set()


async def test_closing_fails_what_waits() -> None:
    gate = Gate()
    async with served(gate) as (runner,):
        waiting = asyncio.create_task(failure(ask(runner, [1.0])))
        await gate.until_begun()
        runner.close()
        assert (await waiting).reason == "DRAINING"
        assert (await failure(ask(runner, [1.0]))).reason == "DRAINING"
        gate.go.set()
    # Closed twice, as by an end that is told a second time.


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
