"""Requests under way, and what they get."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.worker.shared_memory.tensors import Array


class BatchRecord(NamedTuple):
    """One batch that ran.

    Attributes:
        rows: how many rows.
        started: when it began, by the monotonic clock.
        seconds: how long it took on the device.
        counted: this front-end counts it.
        span: whatever `on_batch` answered for it.
    """

    rows: int
    started: float
    seconds: float
    counted: bool
    span: object = None


class Answer(NamedTuple):
    """What a request gets.

    Attributes:
        outputs: one array per output, [rows, ...]: views of memory that `Runner.release` gives to others.
        bad_row: the first of its rows that holds NaN or an infinity, by its index; None: none does.
        classes: the predicted class of each row, by its index; empty unless the model is a classification.
        queue_seconds: how long it waited for the device.
        batch: the (last) batch that it was in.
    """

    outputs: Sequence[Array]
    bad_row: int | None
    classes: list[int]
    queue_seconds: float
    batch: BatchRecord


@dataclass(slots=True, eq=False)
class Request:
    """A request under way.

    Attributes:
        number: under which the engine knows it.
        first: its first row in the shared memory.
        rows: how many it has.
        left: how many of them have not run yet; 0: the engine is done with it.
        queued: when it was handed over, by the monotonic clock.
        tag: handed to `on_batch`.
        answer: what its caller waits for.
        released: its caller needs its rows no more.
    """

    number: int
    first: int
    rows: int
    left: int
    queued: float
    tag: object
    answer: "asyncio.Future[Answer]"
    released: bool = False


OnBatch = Callable[[BatchRecord, Sequence[object]], object]
