"""Feeds the device: batches of whatever waits, on the event loop or on a thread.

A batch of a small model takes less time than handing it to a thread and back, and a thread that computes in Python
contends with the loop for the interpreter (each operator gives it up and has to win it back). So short batches run on
the loop, after everything that has arrived has been queued; long ones and those on CUDA run on one thread.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from services.common.clock import Clock
from services.common.errors import DeadlineExceededError, InternalError, ResourceExhaustedError, UnavailableError
from services.worker.batcher import Batch, Batcher, QueueFullError, Ticket
from services.worker.engine import EngineOutput
from services.worker.tensors import Array

INLINE_SECONDS: Final = 0.004
"""A largest batch that takes less runs on the event loop."""
QUIET_TURNS: Final = 2
"""A batch runs on the event loop when this many turns of the loop brought nothing."""
QUIET_TURN_SECONDS: Final = 60e-6
"""A turn of the event loop that takes longer has brought something."""
GATHER_SECONDS: Final = 0.01
"""A request waits no longer than this for others to be let in."""


class BatchRecord(NamedTuple):
    """One batch that ran.

    Attributes:
        rows: how many rows.
        started: when it began, by the monotonic clock.
        seconds: how long it took on the device.
        span: whatever `on_batch` answered for it.
    """

    rows: int
    started: float
    seconds: float
    span: object = None


class Answer(NamedTuple):
    """What a request gets.

    Attributes:
        outputs: one array per output, [rows, ...].
        finite: none of its rows holds NaN or an infinity.
        classes: the predicted class of each row, by its index; empty unless the model is a classification.
        queue_seconds: how long it waited for the device.
        batch: the (last) batch that it was in.
    """

    outputs: tuple[Array, ...]
    finite: bool
    classes: list[int]
    queue_seconds: float
    batch: BatchRecord


@dataclass(slots=True, eq=False)
class Work:
    """A request under way: its inputs, and where its answer goes."""

    inputs: Sequence[Array]
    future: "asyncio.Future[Answer]"
    queued: float
    tag: object
    parts: list[EngineOutput]


Run = Callable[[Sequence[Sequence[Array]]], EngineOutput]
_Outcome = tuple[EngineOutput | Exception, float, float]


class Runner:
    """Runs requests in batches.

    Args:
        run: runs the joined inputs of several requests.
        batcher: the queue.
        is_finite: whether rows `start` to `stop` of a batch's outputs are finite; asked only of batches that are not.
        clock: measures.
        inline: batches run on the event loop.
        on_batch: told of each batch that ran, with the tags of its requests; its answer goes into the record.
    """

    def __init__(
        self,
        run: Run,
        batcher: Batcher[Work],
        is_finite: Callable[[Sequence[Array], int, int], bool],
        clock: Clock,
        *,
        inline: bool,
        on_batch: Callable[[BatchRecord, Sequence[object]], object],
    ) -> None:
        self._run = run
        self._batcher = batcher
        self._is_finite = is_finite
        self._clock = clock
        self._inline = inline
        self._on_batch = on_batch
        self._busy = False
        self._closed = False
        self._turned = 0.0
        self._quiet = 0
        self._gather_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[Batch[Work] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if not inline:
            self._thread = threading.Thread(target=self._serve_batches, name="device", daemon=True)
            self._thread.start()

    def run_alone(self, inputs: Sequence[Array], rows: int, tag: object = None) -> Answer | None:
        """Runs a request at once, past the queue; None: it is to be queued, since the device is not free for it.

        Raises:
            InternalError: MODEL_RAISED.
        """
        if self._busy or self._closed or not self._inline or rows > self._batcher.max_rows:
            return None
        started = self._clock.monotonic()
        try:
            result = self._run((inputs,))
        except Exception as error:
            raise _raised(error) from error
        record = self._tell(BatchRecord(rows, started, self._clock.monotonic() - started), (tag,))
        return Answer(result.arrays, result.finite, result.classes, 0.0, record)

    def submit(
        self, inputs: Sequence[Array], rows: int, deadline: float, tag: object = None
    ) -> "tuple[Ticket[Work], asyncio.Future[Answer]]":
        """Queues a request.

        Args:
            inputs: one array per input, [rows, ...].
            rows: how many rows.
            deadline: by the monotonic clock.
            tag: handed to `on_batch`.

        Raises:
            ResourceExhaustedError: QUEUE_FULL.
            UnavailableError: the process ends.
        """
        if self._closed:
            raise UnavailableError("DRAINING", "this process takes no more requests; send it again")
        future: asyncio.Future[Answer] = self._loop.create_future()
        ticket = Ticket(Work(inputs, future, self._clock.monotonic(), tag, []), rows, deadline)
        try:
            self._batcher.add(ticket)
        except QueueFullError as error:
            raise ResourceExhaustedError("QUEUE_FULL", f"the version's queue is full: {error}; send less") from error
        if not self._busy:
            self._busy = True
            if not self._inline:
                self._hand_over()
            else:
                self._gather(ticket.work.queued)
        return ticket, future

    def cancel(self, ticket: Ticket[Work]) -> None:
        """Says that nobody waits for the request."""
        self._batcher.cancel(ticket)

    def expire(self, ticket: Ticket[Work]) -> None:
        """Ends a request that nobody set a deadline for."""
        self._batcher.cancel(ticket)
        _fail(
            ticket,
            DeadlineExceededError("DEADLINE_EXCEEDED", "no answer in the time that a call without a deadline gets"),
        )

    def close(self) -> None:
        """Fails what waits, and ends the thread when its batch has."""
        self._closed = True
        for ticket in self._batcher.drain():
            _fail(ticket, UnavailableError("DRAINING", "this process ended before the request's turn; send it again"))
        if self._thread is not None:
            self._batches.put(None)

    def _gather(self, now: float) -> None:
        # grpc hands requests to the loop one at a time. Those that have reached the process are let in first, until the
        # loop has nothing else to do.
        self._turned, self._quiet, self._gather_until = now, 0, now + GATHER_SECONDS
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        now = self._clock.monotonic()
        self._quiet = self._quiet + 1 if now - self._turned < QUIET_TURN_SECONDS else 0
        self._turned = now
        if self._quiet < QUIET_TURNS and now < self._gather_until and not self._batcher.full:
            self._loop.call_soon(self._turn)
        else:
            self._run_next()

    def _run_next(self) -> None:
        batch = self._take()
        if batch is not None:
            self._finish(batch, self._timed(batch))
        self._busy = len(self._batcher) > 0
        if self._busy:
            self._gather(self._clock.monotonic())

    def _hand_over(self) -> None:
        batch = self._take()
        self._busy = batch is not None
        if batch is not None:
            self._batches.put(batch)

    def _serve_batches(self) -> None:
        while (batch := self._batches.get()) is not None:
            outcome = self._timed(batch)
            try:
                self._loop.call_soon_threadsafe(self._finished, batch, outcome)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                return

    def _finished(self, batch: Batch[Work], outcome: _Outcome) -> None:
        # The device first: it works on while the answers are written.
        self._hand_over()
        self._finish(batch, outcome)

    def _take(self) -> Batch[Work] | None:
        while len(self._batcher):
            batch = self._batcher.take(self._clock.monotonic())
            for ticket in batch.expired:
                _fail(ticket, DeadlineExceededError("DEADLINE_EXCEEDED", "the deadline passed in the version's queue"))
            if batch.pieces:
                return batch
        return None

    def _timed(self, batch: Batch[Work]) -> _Outcome:
        pieces = [
            piece.ticket.work.inputs
            if piece.rows == piece.ticket.rows
            else [array[piece.start : piece.stop] for array in piece.ticket.work.inputs]
            for piece in batch.pieces
        ]
        started = self._clock.monotonic()
        try:
            result: EngineOutput | Exception = self._run(pieces)
        except Exception as error:  # noqa: BLE001 - a model may raise anything; its callers are told
            result = error
        return result, started, self._clock.monotonic() - started

    def _finish(self, batch: Batch[Work], outcome: _Outcome) -> None:
        result, started, seconds = outcome
        record = BatchRecord(batch.rows, started, seconds)
        if isinstance(result, EngineOutput):
            record = self._tell(record, [piece.ticket.work.tag for piece in batch.pieces])
        position = 0
        for piece in batch.pieces:
            if isinstance(result, Exception):
                _fail(piece.ticket, _raised(result))
                # The rest of a cut request is not worth running.
                self._batcher.cancel(piece.ticket)
            else:
                self._deliver(piece.ticket, result, position, position + piece.rows, record)
            position += piece.rows

    def _tell(self, record: BatchRecord, tags: Sequence[object]) -> BatchRecord:
        """Tells of a batch that ran; answers its record with what was said to that."""
        span = self._on_batch(record, tags)
        return record if span is None else record._replace(span=span)

    def _deliver(self, ticket: Ticket[Work], result: EngineOutput, start: int, stop: int, record: BatchRecord) -> None:
        work = ticket.work
        if work.future.done():
            return
        part = result
        if start or stop != record.rows:
            arrays = tuple(array[start:stop] for array in result.arrays)
            finite = result.finite or self._is_finite(result.arrays, start, stop)
            part = EngineOutput(arrays, finite, result.classes[start:stop])
        if stop - start < ticket.rows:
            work.parts.append(part)
            if sum(len(one.arrays[0]) for one in work.parts) < ticket.rows:
                return
            part = _joined(work.parts)
        queued = record.started - work.queued
        work.future.set_result(Answer(part.arrays, part.finite, part.classes, queued, record))


def _joined(parts: Sequence[EngineOutput]) -> EngineOutput:
    arrays = tuple(np.concatenate(columns) for columns in zip(*(part.arrays for part in parts), strict=True))
    return EngineOutput(arrays, all(part.finite for part in parts), [one for part in parts for one in part.classes])


def _raised(error: Exception) -> InternalError:
    return InternalError("MODEL_RAISED", f"the model raised {type(error).__name__}: {str(error)[:300]}")


def _fail(ticket: Ticket[Work], error: Exception) -> None:
    if not ticket.work.future.done():
        ticket.work.future.set_exception(error)
