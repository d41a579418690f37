"""A front-end's side of a version: hands requests to the engine, and answers when their batches have run."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from services.common.clock import Clock
from services.common.errors import (
    CrossfadeError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.worker.front_end.pace import Pace
from services.worker.front_end.requests import Answer, BatchRecord, OnBatch, Request
from services.worker.front_end.single_rows import Here, SingleRows
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.records import BatchAnswer, BatchFeed, Outcome, RequestRecord, pack_request
from services.worker.shared_memory.rows import RowRing
from services.worker.shared_memory.tensors import Array


class Runner:
    """Hands requests over, on the running event loop.

    Attributes:
        exchange: what it shares with the engine.

    Args:
        exchange: likewise.
        clock: measures.
        classifies: answers have predicted classes.
        on_batch: told of each batch that ran, with the tags of its requests; its answer goes into the record.
        on_lost: called when the engine has ended, which nobody else can tell a front-end.
        on_full: called for each request that is turned away because the queue is full.
        checks: raise for inputs that are not for the program.
        here: runs a row that comes alone; None: the engine runs all.
    """

    def __init__(
        self,
        exchange: Exchange,
        clock: Clock,
        *,
        classifies: bool,
        on_batch: OnBatch,
        on_lost: Callable[[], None],
        on_full: Callable[[], None] = lambda: None,
        checks: Sequence[Callable[[Sequence[Array]], None]] = (),
        here: Here | None = None,
    ) -> None:
        self.exchange = exchange
        self._clock = clock
        self._classifies = classifies
        self._on_batch = on_batch
        self._on_lost = on_lost
        self._on_full = on_full
        self._checks = checks
        self._single_rows = (
            None if here is None else SingleRows(here, exchange, clock, tell=self._tell, finish=self._finish)
        )
        self._ring = RowRing(exchange.capacity)
        self._feed = BatchFeed()
        self._requests: dict[int, Request] = {}
        self._rows = 0
        self._pace = Pace()
        self._number = 0
        self._untold: list[bytes] = []
        self._stuck = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(exchange.answers.reading, self._read)

    @property
    def largest(self) -> int:
        """Rows of the largest request."""
        return self.exchange.largest

    @property
    def waiting(self) -> int:
        """Requests that the engine has not done with."""
        return len(self._requests)

    def fits(self, rows: int) -> bool:
        """Whether there is room for a request of so many rows at this moment."""
        return self._is_within_bound(rows) and self._ring.fits(rows)

    def submit(self, inputs: Sequence[Array], rows: int, deadline: float, tag: object = None) -> Request:
        """Hands a request over. Whoever does calls `release` in the end.

        Args:
            inputs: one array per input, [rows, ...].
            rows: how many rows.
            deadline: by the monotonic clock.
            tag: handed to `on_batch`.

        Raises:
            InvalidArgumentError: INPUT_SHAPE, it has more rows than one answer can carry; INPUT_NOT_FINITE.
            ResourceExhaustedError: QUEUE_FULL.
            InternalError: MODEL_RAISED, as it would.
            UnavailableError: the process ends.
        """
        if self._closed:
            raise UnavailableError("DRAINING", "this process takes no more requests; send it again")
        if rows > self.largest:
            raise InvalidArgumentError(
                "INPUT_SHAPE",
                f"{rows} rows or their answer are larger than a message may be; send {self.largest} at most",
                field="inputs[0].shape",
            )
        for check in self._checks:
            check(inputs)
        first = self._ring.take(rows) if self._is_within_bound(rows) else None
        if first is None:
            self._on_full()
            raise self._full(f"{self._rows} rows wait or run")
        self._rows += rows
        for kept, array in zip(self.exchange.inputs, inputs, strict=True):
            kept[first : first + rows] = array
        self._number += 1
        answer: asyncio.Future[Answer] = self._loop.create_future()
        request = Request(self._number, first, rows, rows, self._clock.monotonic(), tag, answer)
        self._requests[self._number] = request
        record = RequestRecord(self._number, first, rows, deadline)
        if self._single_rows is None:
            self._tell(record)
        else:
            self._single_rows.hand_over(record, alone=len(self._requests) == 1)
        return request

    def release(self, request: Request) -> None:
        """Says that nobody waits for a request, or reads its answer, any more."""
        request.released = True
        if not request.left:
            self._ring.give_back(request.first)
        elif self._single_rows is not None and self._single_rows.cancel(request.number):
            return
        elif not self._closed:
            # The engine answers this too, and the rows are free from then on.
            self._tell(RequestRecord(request.number, 0, 0, 0.0))

    def expire(self, request: Request) -> None:
        """Ends a request that nobody set a deadline for."""
        _fail(
            request,
            DeadlineExceededError("DEADLINE_EXCEEDED", "no answer in the time that a call without a deadline gets"),
        )

    def close(self) -> None:
        """Fails what waits, and lets the engine end."""
        if self._closed:
            return
        self._closed = True
        if self._single_rows is not None:
            self._single_rows.close()
        self._loop.remove_reader(self.exchange.answers.reading)
        self._loop.remove_writer(self.exchange.requests.writing)
        self.exchange.requests.close_writing()
        for request in self._requests.values():
            _fail(request, UnavailableError("DRAINING", "this process ended before the request's turn; send it again"))

    def _is_within_bound(self, rows: int) -> bool:
        return not self._rows or self._rows + rows <= self.exchange.bound

    def _tell(self, record: RequestRecord) -> None:
        """Tells the engine: at once when it has nothing else to do, and else of all that came in one turn of the loop.

        So one alone is not delayed, and many cost one system call and one batch.
        """
        self._untold.append(pack_request(record))
        if len(self._untold) > 1:
            return
        if len(self._requests) == 1:
            self._flush()
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._closed:
            return
        pipe, data = self.exchange.requests, b"".join(self._untold)
        self._untold.clear()
        try:
            written = pipe.write(data)
        except BrokenPipeError:
            # The engine has ended, which the other pipe tells too.
            return
        if written < len(data):
            # It hangs, or nearly; whoever watches it must not hang too.
            self._untold.append(data[written:])
            self._loop.add_writer(pipe.writing, self._flush)
        elif self._stuck:
            self._loop.remove_writer(pipe.writing)
        self._stuck = written < len(data)

    def _read(self) -> None:
        data = self.exchange.answers.read()
        if data is None:
            self._loop.remove_reader(self.exchange.answers.reading)
            self._on_lost()
            return
        for batch in self._feed.feed(data):
            self._finish(batch)

    def _finish(self, batch: BatchAnswer) -> None:
        requests = [self._requests[piece.number] for piece in batch.pieces]
        record = BatchRecord(batch.rows, batch.started, batch.seconds, batch.counted)
        ran = batch.outcome is Outcome.RAN
        if ran:
            self._pace.ran(batch.rows, batch.seconds)
            span = self._on_batch(record, [request.tag for request in requests])
            record = record if span is None else record._replace(span=span)
        for request, piece in zip(requests, batch.pieces, strict=True):
            request.left = request.left - piece.rows if ran else 0
            if request.left:
                continue
            del self._requests[request.number]
            self._rows -= request.rows
            if request.released:
                self._ring.give_back(request.first)
            elif ran:
                whole = batch.finite and piece.rows == request.rows
                self._deliver(request, record, None if whole else self._bad_row(request))
            else:
                _fail(request, self._error(batch))

    def _error(self, batch: BatchAnswer) -> CrossfadeError:
        return self._full(batch.text) if batch.outcome is Outcome.FULL else _ERRORS[batch.outcome](batch.text)

    def _full(self, found: str) -> ResourceExhaustedError:
        seconds = self._pace.seconds(self._rows)
        advice = f"send it again after {seconds:.2g} s, and less at a time"
        return ResourceExhaustedError(
            "QUEUE_FULL", f"the version's queue is full: {found}; {advice}", retry_seconds=seconds
        )

    def _bad_row(self, request: Request) -> int | None:
        finite = self.exchange.finite[request.first : request.first + request.rows]
        return None if finite.all() else int(finite.argmin())

    def _deliver(self, request: Request, record: BatchRecord, bad_row: int | None) -> None:
        if request.answer.done():
            return
        exchange = self.exchange
        start, stop = request.first, request.first + request.rows
        classes: list[int] = exchange.classes[start:stop].tolist() if self._classifies else []
        outputs = [array[start:stop] for array in exchange.outputs]
        request.answer.set_result(Answer(outputs, bad_row, classes, record.started - request.queued, record))


_ERRORS: Final[dict[Outcome, Callable[[str], CrossfadeError]]] = {
    Outcome.RAISED: lambda text: InternalError("MODEL_RAISED", f"the model raised {text}"),
    Outcome.EXHAUSTED: lambda text: ResourceExhaustedError("OUT_OF_MEMORY", f"{text}; send it again later"),
    Outcome.EXPIRED: lambda _: DeadlineExceededError("DEADLINE_EXCEEDED", "the deadline passed in the version's queue"),
    Outcome.CANCELLED: lambda _: UnavailableError("CANCELLED", "nobody waited for the answer"),
}


def _fail(request: Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
