"""The engine's side of a version: takes what waits from every front-end, runs it in batches, and answers.

A batch leaves when the device is free. Its requests mostly lie next to one another in memory, and then go to the
program as they lie; only what lies apart is copied together.

A batch that makes the program raise, or takes too much memory, is run again in halves, until each request that does so
stands alone and the others are answered; as long as few do so.

A device that runs by itself (a GPU) is handed the next batch before it is done with the one before, if that is a full
one: it is copied over meanwhile. One that is not full waits, and grows, until the device is free.
"""

import select
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.common.clock import Clock
from services.worker.engine.batcher import Batch, Batcher, Piece, QueueFullError, Ticket
from services.worker.engine.engine import EngineOutput
from services.worker.engine.gathering import Gathering
from services.worker.engine.runs import Failed, Pending, Run, Runs
from services.worker.engine.stretches import Stretch, stretches
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.records import (
    BatchAnswer,
    Outcome,
    PieceRecord,
    RequestFeed,
    RequestRecord,
    pack_batch,
)

_IDLE: Final = 0.0
_APART: Final = (Outcome.RAISED, Outcome.EXHAUSTED)
"""How a batch fails that may do so for some of its requests alone."""
_RUNS_PER_HALVING: Final = 4
"""Two culprits of a batch are found by as many runs as this for each time that it can be halved."""


@dataclass(slots=True, eq=False)
class Work:
    """A request in the queue: whose, under which number, and where its rows begin."""

    front_end: "_FrontEnd"
    number: int
    first: int


@dataclass(slots=True, eq=False)
class _Running:
    """A batch that the device was handed."""

    batch: Batch[Work]
    rows: int
    where: Sequence[Stretch]
    started: float
    begun: EngineOutput | Pending


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
        self._runs = Runs(run, batcher)
        self._batcher = batcher
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._gathering = Gathering()
        self._front_ends = {exchange.requests.reading: _FrontEnd(exchange) for exchange in exchanges}
        self._alone = len(exchanges) == 1
        self._running: _Running | None = None
        self._ended = 0.0
        self._poll = select.poll()
        for descriptor in self._front_ends:
            self._poll.register(descriptor, select.POLLIN)

    def serve(self) -> None:
        """Runs batches until every front-end has ended."""
        while self._front_ends:
            shared = len(self._batcher) > 0
            self._receive(wait=not shared and self._running is None)
            if self._running is not None and not self._batcher.full:
                self._conclude(None)
                continue
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
        if cancelled is not None and not cancelled.cancelled and cancelled.taken < cancelled.rows:
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
        if self._running is None:
            self._busy(self._clock.monotonic())
        begun = self._begun(batch)
        if isinstance(begun.begun, EngineOutput | Failed) or any(
            piece.rows < piece.ticket.rows for piece in batch.pieces
        ):
            # What comes next of a request that was cut depends on what became of this.
            self._conclude(None)
            self._busy(self._clock.monotonic())
            self._finish(begun, None)
        else:
            self._conclude(begun)

    def _begun(self, batch: Batch[Work]) -> _Running:
        works = ((piece.ticket.work, piece) for piece in batch.pieces)
        where = stretches(
            [Stretch(work.front_end.exchange, work.first + one.start, work.first + one.stop) for work, one in works]
        )
        return _Running(batch, batch.rows, where, self._clock.monotonic(), self._runs.begin(where))

    def _conclude(self, following: _Running | None) -> None:
        """Answers the batch that the device has, and leaves it with the following one; None: with nothing."""
        running, self._running = self._running, following
        if running is not None:
            self._finish(running, following)

    def _finish(self, running: _Running, following: _Running | None) -> None:
        outcome, finite, text = self._runs.outcome(running.begun, running.where, running.rows)
        pieces = running.batch.pieces
        if outcome in _APART and len(pieces) > 1:
            self._isolate(pieces, outcome, text)
        else:
            self._answer(pieces, max(running.started, self._ended), outcome, finite, text)
        self._ended = self._clock.monotonic()
        self._busy(_IDLE if following is None else self._ended)

    def _isolate(self, pieces: Sequence[Piece[Work]], failed: Outcome, text: str) -> None:
        """Runs what has failed together again in halves, and what is left of it after enough runs not at all."""
        groups, runs = [*_halves(pieces)], _RUNS_PER_HALVING * len(pieces).bit_length()
        while groups:
            started = self._clock.monotonic()
            group = self._in_time(groups.pop(), started)
            if not group:
                continue
            outcome, finite, said = failed, False, text
            if runs:
                runs -= 1
                self._busy(started)
                running = self._begun(Batch(group, ()))
                outcome, finite, said = self._runs.outcome(running.begun, running.where, running.rows)
                if outcome in _APART and len(group) > 1:
                    groups += _halves(group)
                    continue
            self._answer(group, started, outcome, finite, said)

    def _in_time(self, pieces: Sequence[Piece[Work]], now: float) -> tuple[Piece[Work], ...]:
        """Those whose callers wait still; the others are answered."""
        late = [piece for piece in pieces if piece.ticket.deadline <= now]
        if late:
            self._answer(late, now, Outcome.EXPIRED, False, "")
        return tuple(piece for piece in pieces if piece.ticket.deadline > now)

    def _answer(self, pieces: Sequence[Piece[Work]], started: float, outcome: Outcome, finite: bool, text: str) -> None:
        """Answers what has run together since `started`."""
        rows, taken = sum(piece.rows for piece in pieces), self._clock.monotonic() - started
        counted = pieces[0].ticket.work.front_end
        for front_end, theirs in self._by_front_end(pieces):
            told = tuple(PieceRecord(piece.ticket.work.number, piece.rows) for piece in theirs)
            size, first = self._batcher.max_rows, front_end is counted
            front_end.answer(BatchAnswer(rows, size, started, taken, outcome, finite, first, told, text))
            for piece in theirs:
                self._leave(piece, outcome)

    def _busy(self, since: float) -> None:
        for front_end in self._front_ends.values():
            front_end.exchange.busy_since[0] = since

    def _leave(self, piece: Piece[Work], outcome: Outcome) -> None:
        ticket = piece.ticket
        if outcome is not Outcome.RAN and not ticket.cancelled:
            # The rest of a cut request is not worth running.
            self._batcher.cancel(ticket)
        if piece.stop == ticket.rows or outcome is not Outcome.RAN:
            ticket.work.front_end.waiting.pop(ticket.work.number, None)

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


def _halves(pieces: Sequence[Piece[Work]]) -> tuple[Sequence[Piece[Work]], Sequence[Piece[Work]]]:
    """The second half, and the first."""
    half = len(pieces) // 2
    return pieces[half:], pieces[:half]
