"""Requests through a device that a test makes up: every one answered once, with its own rows."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from services.common.clock import SystemClock
from services.common.errors import CrossfadeError
from services.worker.batcher import Batcher
from services.worker.engine import EngineOutput
from services.worker.runner import Answer, Runner

Run = Callable[[Sequence[Sequence[Any]]], EngineOutput]
FAR = 1e12


def doubled(pieces: Sequence[Sequence[Any]]) -> EngineOutput:
    """Twice each value; an infinity makes its row bad, a NaN raises."""
    rows = np.concatenate([piece[0] for piece in pieces])
    if np.isnan(rows).any():
        raise ValueError("NaN came in")
    return EngineOutput((rows * 2,), bool(np.isfinite(rows).all()), [int(one) % 7 for one in np.nan_to_num(rows[:, 0])])


def runner(run: Run = doubled, *, inline: bool, max_rows: int = 4, queue_rows: int = 1000) -> Runner:
    return Runner(
        run,
        Batcher(max_rows, queue_rows),
        lambda arrays, start, stop: bool(np.isfinite(arrays[0][start:stop]).all()),
        SystemClock(),
        inline=inline,
        on_batch=lambda record, tags: (record.rows, len(tags)),
    )


async def ask(device: Runner, values: Sequence[float], deadline: float = FAR) -> Answer:
    rows = np.array(values, dtype=np.float64).reshape(-1, 1)
    _, future = device.submit([rows], len(rows), deadline)
    return await future


@pytest.mark.parametrize("inline", [True, False])
async def test_everyone_gets_their_own_rows(inline: bool) -> None:
    device = runner(inline=inline)
    sizes = [1, 2, 11, 4, 5, 1, 1, 30] * 10
    asked = [[float(number * 100 + row) for row in range(size)] for number, size in enumerate(sizes)]
    answers = await asyncio.gather(*(ask(device, values) for values in asked))
    for values, answer in zip(asked, answers, strict=True):
        assert answer.outputs[0].ravel().tolist() == [2 * value for value in values]
        assert answer.classes == [int(value) % 7 for value in values]
        assert answer.finite
        assert answer.queue_seconds >= 0
    device.close()


async def test_one_alone_is_answered_at_once() -> None:
    device = runner(inline=True)
    answer = device.run_alone([np.array([[3.0]])], 1)
    assert answer is not None
    assert (answer.outputs[0].tolist(), answer.classes, answer.queue_seconds) == ([[6.0]], [3], 0.0)
    assert answer.batch.span == (1, 1)
    with pytest.raises(CrossfadeError, match="ValueError: NaN came in"):
        device.run_alone([np.array([[np.nan]])], 1)


async def test_one_is_not_run_alone_past_others_beyond_a_batch_or_on_a_thread() -> None:
    device = runner(inline=True, max_rows=2)
    assert device.run_alone([np.ones((3, 1))], 3) is None
    _, waiting = device.submit([np.ones((1, 1))], 1, FAR)
    assert device.run_alone([np.ones((1, 1))], 1) is None
    await waiting
    threaded = runner(inline=False)
    assert threaded.run_alone([np.ones((1, 1))], 1) is None
    for one in (device, threaded):
        one.close()
    assert device.run_alone([np.ones((1, 1))], 1) is None


async def test_those_that_come_together_run_together() -> None:
    batches: list[int] = []

    def noted(pieces: Sequence[Sequence[Any]]) -> EngineOutput:
        batches.append(len(pieces))
        return doubled(pieces)

    device = runner(noted, inline=True, max_rows=8)
    await asyncio.gather(*(ask(device, [1.0]) for _ in range(20)))
    assert batches == [8, 8, 4]


@pytest.mark.parametrize("inline", [True, False])
async def test_only_bad_rows_are_bad(inline: bool) -> None:
    device = runner(inline=inline, max_rows=100)
    values = [[1.0], [float("inf"), 2.0], [3.0]]
    answers = await asyncio.gather(*(ask(device, one) for one in values))
    assert [answer.finite for answer in answers] == [True, False, True]
    device.close()


@pytest.mark.parametrize("inline", [True, False])
async def test_a_program_that_raises_fails_its_batch_and_no_other(inline: bool) -> None:
    device = runner(inline=inline, max_rows=2)
    results = await asyncio.gather(
        ask(device, [float("nan")] * 5), ask(device, [1.0, 2.0]), ask(device, [3.0]), return_exceptions=True
    )
    failed = results[0]
    assert isinstance(failed, CrossfadeError)
    assert (failed.reason, "ValueError: NaN came in" in failed.message) == ("MODEL_RAISED", True)
    assert all(isinstance(result, Answer) for result in results[1:])
    device.close()


async def test_what_waits_too_long_or_too_many_is_refused() -> None:
    go, begun = threading.Event(), threading.Event()
    ran: list[int] = []

    def slow(pieces: Sequence[Sequence[Any]]) -> EngineOutput:
        begun.set()
        assert go.wait(10)
        ran.extend(int(piece[0][0, 0]) for piece in pieces)
        return doubled(pieces)

    device = runner(slow, inline=False, max_rows=1, queue_rows=2)
    first = asyncio.create_task(ask(device, [1.0]))
    await asyncio.to_thread(begun.wait, 10)
    late = asyncio.create_task(ask(device, [2.0], deadline=0.0))
    cancelled_ticket, cancelled = device.submit([np.full((1, 1), 3.0)], 1, FAR)
    await asyncio.sleep(0)
    with pytest.raises(CrossfadeError) as full:
        await ask(device, [4.0])
    assert full.value.reason == "QUEUE_FULL"
    device.cancel(cancelled_ticket)
    last = asyncio.create_task(ask(device, [5.0]))
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(CrossfadeError) as expired:
        await late
    assert expired.value.reason == "DEADLINE_EXCEEDED"
    assert (await first).outputs[0].tolist() == [[2.0]]
    assert (await last).outputs[0].tolist() == [[10.0]]
    assert ran == [1, 5]
    assert not cancelled.done()
    device.close()


async def test_closing_fails_what_waits() -> None:
    device = runner(inline=True)
    waiting = asyncio.create_task(ask(device, [1.0]))
    await asyncio.sleep(0)
    device.close()
    with pytest.raises(CrossfadeError) as closed:
        await waiting
    assert closed.value.reason == "DRAINING"
    with pytest.raises(CrossfadeError):
        await ask(device, [1.0])
