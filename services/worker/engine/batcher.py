"""Which requests run together: the core of continuous batching, in plain Python.

A batch leaves as soon as the device is free (Yu et al., Orca, OSDI 2022, at the granularity of requests), so one
request in flight pays no delay. Requests keep their order. One larger than a batch is cut; the others are never cut.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

WorkT = TypeVar("WorkT")


class QueueFullError(Exception):
    """As many rows wait as may."""


@dataclass(slots=True, eq=False)
class Ticket(Generic[WorkT]):
    """One request in the queue.

    Attributes:
        work: what is to be done; the batcher never looks at it.
        rows: how many rows it has, at least 1.
        deadline: when its answer is of no use any more, by the monotonic clock.
        cancelled: nobody waits for it any more.
        taken: rows that have left the queue.
    """

    work: WorkT
    rows: int
    deadline: float
    cancelled: bool = False
    taken: int = 0


class Piece(NamedTuple, Generic[WorkT]):
    """Rows `start` to `stop` of a request: all of it, unless it is larger than a batch."""

    ticket: Ticket[WorkT]
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.stop - self.start


class Batch(NamedTuple, Generic[WorkT]):
    """What runs together.

    Attributes:
        pieces: at most `max_rows` rows together, in the order of their arrival.
        expired: requests whose deadline passed while they waited; they are not run.
    """

    pieces: tuple[Piece[WorkT], ...]
    expired: tuple[Ticket[WorkT], ...]

    @property
    def rows(self) -> int:
        """How many rows run."""
        return sum(piece.rows for piece in self.pieces)


class Batcher(Generic[WorkT]):
    """The queue before one device.

    Args:
        max_rows: rows of the largest batch.
        queue_rows: rows that may wait. One request is always let in when nothing waits, however large.
    """

    def __init__(self, max_rows: int, queue_rows: int) -> None:
        self.max_rows = max_rows
        self._queue_rows = queue_rows
        self._queue: deque[Ticket[WorkT]] = deque()
        self.waiting_rows = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether the largest batch waits."""
        return self.waiting_rows >= self.max_rows

    def add(self, ticket: Ticket[WorkT]) -> None:
        """Queues a request.

        Raises:
            QueueFullError: its rows do not fit any more.
        """
        if self.waiting_rows and self.waiting_rows + ticket.rows > self._queue_rows:
            raise QueueFullError(f"{self.waiting_rows} of {self._queue_rows} rows wait")
        self._queue.append(ticket)
        self.waiting_rows += ticket.rows

    def cancel(self, ticket: Ticket[WorkT]) -> None:
        """Says that nobody waits for the request; what has not been taken of it will not run."""
        if not ticket.cancelled:
            ticket.cancelled = True
            if ticket.taken < ticket.rows:
                self.waiting_rows -= ticket.rows - ticket.taken
                # Left in the queue, cancelled requests would pile up behind a slow batch.
                self._queue.remove(ticket)

    def take(self, now: float) -> Batch[WorkT]:
        """The next batch; empty when nothing is left to run."""
        pieces: list[Piece[WorkT]] = []
        expired: list[Ticket[WorkT]] = []
        room = self.max_rows
        while self._queue and room:
            ticket = self._queue[0]
            left = ticket.rows - ticket.taken
            if ticket.deadline <= now:
                expired.append(ticket)
                self._leave(left)
                ticket.taken = ticket.rows
            elif left <= room or ticket.rows > self.max_rows:
                size = min(left, room)
                pieces.append(Piece(ticket, ticket.taken, ticket.taken + size))
                ticket.taken += size
                room -= size
                self.waiting_rows -= size
                if size == left:
                    self._queue.popleft()
            else:
                break
        return Batch(tuple(pieces), tuple(expired))

    def _leave(self, rows: int) -> None:
        self._queue.popleft()
        self.waiting_rows -= rows
