"""Requests that wait for an engine: refused, too late, cancelled, or of a front-end that ends."""

import asyncio
import contextlib
import fcntl
import select
import tracemalloc

import numpy as np
import pytest

from services.common.errors import CrossfadeError, ResourceExhaustedError
from tests.support.wait import until
from tests.unit.worker.served import FAR, Gate, ask, failure, served, told_the_engine

KEPT_BYTES = 100_000
"""Of a thousand together: less than their Requests alone would take."""


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
        pipe = runner.exchange.requests.writing
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        first = asyncio.create_task(ask(runner, [0.0]))
        await gate.until_begun()
        waiting = [asyncio.create_task(ask(runner, [float(number)])) for number in range(900)]
        # Far more than the pipe holds, and the loop goes on.
        for _ in range(10):
            await asyncio.sleep(0)
        assert select.select([], [pipe], [], 0)[1] == []
        assert runner.waiting == 1 + len(waiting)
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
        tracemalloc.start()
        for _ in range(1000):
            with contextlib.suppress(CrossfadeError):
                runner.release(runner.submit([np.zeros((1, 1))], 1, FAR))
            await asyncio.sleep(0)
        await until(lambda: runner.waiting == 0)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < KEPT_BYTES
        # A single row that was kept would be in the way of the largest request.
        assert runner.fits(runner.largest)
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
