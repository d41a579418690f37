"""Front-ends, and an engine on a thread that runs what a test makes up, over real shared memory and pipes."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.clock import SystemClock
from services.common.errors import CrossfadeError
from services.worker.engine.batcher import Batcher
from services.worker.engine.device import Device, Work
from services.worker.engine.engine import EngineOutput
from services.worker.engine.runs import Run
from services.worker.front_end.requests import Answer
from services.worker.front_end.runner import Runner
from services.worker.shared_memory.exchange import Exchange

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
