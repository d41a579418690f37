"""The engine's side of a version: takes what waits from every front-end, runs it in batches, and answers.

A batch leaves when the device is free. Its requests mostly lie next to one another in memory, and then go to the
program as they lie; only what lies apart is copied together.
"""

import select
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from services.common.clock import Clock
from services.worker.batcher import Batch, Batcher, Piece, QueueFullError, Ticket
from services.worker.engine import EngineOutput, is_out_of_memory
from services.worker.exchange import Exchange
from services.worker.gathering import Gathering
from services.worker.records import BatchAnswer, Outcome, PieceRecord, RequestFeed, RequestRecord, pack_batch
from services.worker.tensors import Array

_IDLE: Final = 0.0


class Run(Protocol):
    """Runs one batch: one array per input, [rows, ...], which it may write to."""

    def __call__(self, inputs: Sequence[Array], /) -> EngineOutput: ...


@dataclass(slots=True, eq=False)
class Work:
    """A request in the queue: whose, under which number, and where its rows begin."""

    front_end: "_FrontEnd"
    number: int
    first: int


class _Stretch(NamedTuple):
    """Rows that lie next to one another in a front-end's memory."""

    front_end: "_FrontEnd"
    start: int
    stop: int


class Device:
    """Serves front-ends until all of them have ended.

    Args:
        run: the program.
        batcher: the queue.
        exchanges: one per front-end.
        clock: measures, and ends what has expired.
        pause_seconds: see `Gathering`; 0: a batch leaves whenever the device is free.
    """

    def __init__(
        self,
        run: Run,
        batcher: Batcher[Work],
        exchanges: Sequence[Exchange],
        clock: Clock,
        pause_seconds: float = 0.0,
    ) -> None:
        self._run = run
        self._batcher = batcher
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._gathering = Gathering()
        self._front_ends = {exchange.requests.reading: _FrontEnd(exchange) for exchange in exchanges}
        self._alone = len(exchanges) == 1
        self._poll = select.poll()
        for descriptor in self._front_ends:
            self._poll.register(descriptor, select.POLLIN)

    def serve(self) -> None:
        """Runs batches until every front-end has ended."""
        while self._front_ends:
            shared = len(self._batcher) > 0
            self._receive(wait=not shared)
            self._gather(shared=shared)
            batch = self._batcher.take(self._clock.monotonic())
            if batch.expired:
                self._turn_away(batch.expired, Outcome.EXPIRED)
            if batch.pieces:
                self._serve(batch)

    def _gather(self, *, shared: bool) -> None:
        """Pauses as long as that brings enough; `shared`: requests were there before the batch before was done."""
        batcher, pauses = self._batcher, 0
        while self._pause_seconds and not batcher.full:
            rows = batcher.waiting_rows
            if not self._gathering.pays(pauses, rows, shared=shared or len(batcher) > 1):
                return
            time.sleep(self._pause_seconds)
            self._receive(wait=False)
            self._gathering.brought(pauses, batcher.waiting_rows - rows)
            pauses += 1

    def _receive(self, *, wait: bool) -> None:
        for descriptor, _ in self._poll.poll(None if wait else 0):
            front_end = self._front_ends[descriptor]
            data = front_end.exchange.requests.read()
            if data is None:
                self._poll.unregister(descriptor)
                del self._front_ends[descriptor]
                continue
            for request in front_end.feed.feed(data):
                self._take_in(front_end, request)

    def _take_in(self, front_end: "_FrontEnd", request: RequestRecord) -> None:
        if request.rows:
            ticket = Ticket(Work(front_end, request.number, request.first), request.rows, request.deadline)
            front_end.waiting[request.number] = ticket
            try:
                self._batcher.add(ticket)
            except QueueFullError as error:
                self._turn_away((ticket,), Outcome.FULL, str(error))
            return
        # One that runs, or has run, is answered anyway.
        cancelled = front_end.waiting.get(request.number)
        if cancelled is not None and not cancelled.cancelled:
            self._batcher.cancel(cancelled)
            self._turn_away((cancelled,), Outcome.CANCELLED)

    def _turn_away(self, tickets: Sequence[Ticket[Work]], outcome: Outcome, text: str = "") -> None:
        """Answers for requests that will not run, or not any further."""
        for ticket in tickets:
            work = ticket.work
            del work.front_end.waiting[work.number]
            left = (PieceRecord(work.number, ticket.rows),)
            work.front_end.answer(BatchAnswer(0, self._batcher.max_rows, 0.0, 0.0, outcome, True, False, left, text))

    def _serve(self, batch: Batch[Work]) -> None:
        rows, started = batch.rows, self._clock.monotonic()
        stretches = _stretches(batch.pieces)
        for front_end in self._front_ends.values():
            front_end.exchange.busy_since[0] = started
        outcome, finite, text = self._attempt(stretches, rows)
        seconds = self._clock.monotonic() - started
        for front_end in self._front_ends.values():
            front_end.exchange.busy_since[0] = _IDLE
        counted = batch.pieces[0].ticket.work.front_end
        for front_end, pieces in self._by_front_end(batch.pieces):
            told = tuple(PieceRecord(piece.ticket.work.number, piece.rows) for piece in pieces)
            front_end.answer(
                BatchAnswer(
                    rows, self._batcher.max_rows, started, seconds, outcome, finite, front_end is counted, told, text
                )
            )
            for piece in pieces:
                self._leave(piece, outcome)

    def _leave(self, piece: Piece[Work], outcome: Outcome) -> None:
        ticket = piece.ticket
        if outcome is not Outcome.RAN and not ticket.cancelled:
            # The rest of a cut request is not worth running.
            self._batcher.cancel(ticket)
        if piece.stop == ticket.rows or outcome is not Outcome.RAN:
            ticket.work.front_end.waiting.pop(ticket.work.number, None)

    def _attempt(self, stretches: Sequence[_Stretch], rows: int) -> tuple[Outcome, bool, str]:
        try:
            result = self._run(_joined(stretches))
            _check(result.arrays, rows)
        except Exception as error:  # noqa: BLE001 - a program may raise anything; its callers are told
            if is_out_of_memory(error):
                return self._in_halves(stretches, rows)
            return Outcome.RAISED, False, f"{type(error).__name__}: {str(error)[:300]}"
        _hand_out(stretches, result)
        return Outcome.RAN, result.finite is None, ""

    def _in_halves(self, stretches: Sequence[_Stretch], rows: int) -> tuple[Outcome, bool, str]:
        """Runs a batch that the device's memory is too small for in halves; batches stay that small from here on."""
        if rows == 1:
            return Outcome.EXHAUSTED, False, "the device's memory is too small for one row at present"
        half = rows // 2
        self._batcher.max_rows = min(self._batcher.max_rows, half)
        parts = [self._attempt(part, part_rows) for part, part_rows in _split(stretches, half, rows)]
        worst = max(parts, key=lambda part: part[0])
        return worst[0], all(finite for _, finite, _ in parts), worst[2]

    def _by_front_end(self, pieces: Sequence[Piece[Work]]) -> Iterator[tuple["_FrontEnd", list[Piece[Work]]]]:
        if self._alone:
            yield pieces[0].ticket.work.front_end, list(pieces)
            return
        by_front_end: dict[_FrontEnd, list[Piece[Work]]] = {}
        for piece in pieces:
            by_front_end.setdefault(piece.ticket.work.front_end, []).append(piece)
        yield from by_front_end.items()


class _FrontEnd:
    """What the engine knows of one front-end."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.feed = RequestFeed()
        self.waiting: dict[int, Ticket[Work]] = {}

    def answer(self, answer: BatchAnswer) -> None:
        try:
            self.exchange.answers.write_all(pack_batch(answer))
        except BrokenPipeError:
            # It has ended, which the other pipe tells too: nobody waits any more.
            return


def _stretches(pieces: Sequence[Piece[Work]]) -> list[_Stretch]:
    """The rows of a batch in as few stretches as there are."""
    found: list[_Stretch] = []
    for piece in pieces:
        work = piece.ticket.work
        start, stop = work.first + piece.start, work.first + piece.stop
        if found and found[-1].front_end is work.front_end and found[-1].stop == start:
            start = found.pop().start
        found.append(_Stretch(work.front_end, start, stop))
    return found


def _joined(stretches: Sequence[_Stretch]) -> list[Array]:
    first = stretches[0]
    if len(stretches) == 1:
        return [array[first.start : first.stop] for array in first.front_end.exchange.inputs]
    slots = range(len(first.front_end.exchange.inputs))
    return [
        np.concatenate([one.front_end.exchange.inputs[slot][one.start : one.stop] for one in stretches])
        for slot in slots
    ]


def _hand_out(stretches: Sequence[_Stretch], result: EngineOutput) -> None:
    position = 0
    for front_end, start, stop in stretches:
        exchange, end = front_end.exchange, position + stop - start
        for kept, array in zip(exchange.outputs, result.arrays, strict=True):
            kept[start:stop] = array[position:end]
        if result.classes is not None:
            exchange.classes[start:stop] = result.classes[position:end]
        exchange.finite[start:stop] = True if result.finite is None else result.finite[position:end]
        position = end


def _split(stretches: Sequence[_Stretch], half: int, rows: int) -> Iterator[tuple[list[_Stretch], int]]:
    """The first `half` rows of a batch, and the others."""
    before: list[_Stretch] = []
    after: list[_Stretch] = []
    position = 0
    for front_end, start, stop in stretches:
        cut = min(max(half - position, 0), stop - start)
        if cut:
            before.append(_Stretch(front_end, start, start + cut))
        if start + cut < stop:
            after.append(_Stretch(front_end, start + cut, stop))
        position += stop - start
    yield before, half
    yield after, rows - half


def _check(arrays: Sequence[Array], rows: int) -> None:
    # Fewer rows would be spread over the others without a word.
    if any(len(array) != rows for array in arrays):
        raise ValueError(f"the program gave {[len(array) for array in arrays]} rows for {rows}")
