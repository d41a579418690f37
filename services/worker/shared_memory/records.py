"""What the pipes between a front-end and the engine carry: fixed records, no pickle."""

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

_REQUEST: Final = struct.Struct("=qqqd")
_BATCH: Final = struct.Struct("=iiiddB??H")
_PIECE: Final = struct.Struct("=qi")


class Outcome(IntEnum):
    """What became of the requests of a batch."""

    RAN = 0
    RAISED = 1
    EXHAUSTED = 2
    EXPIRED = 3
    CANCELLED = 4
    FULL = 5


class RequestRecord(NamedTuple):
    """A request, as the engine is told of it.

    Attributes:
        number: the front-end's own, counted up.
        first: its first row.
        rows: how many; 0: nobody waits for it any more.
        deadline: when its answer is of no use any more, by the machine's monotonic clock.
    """

    number: int
    first: int
    rows: int
    deadline: float


class PieceRecord(NamedTuple):
    """Rows of a request that a batch has dealt with."""

    number: int
    rows: int


class BatchAnswer(NamedTuple):
    """What became of one batch, as a front-end is told of it.

    Attributes:
        rows: of the whole batch.
        size: rows that the engine runs at most at present.
        started: when it began, by the machine's monotonic clock.
        seconds: how long it took on the device.
        outcome: what became of it.
        finite: no output of it holds NaN or an infinity; otherwise `Exchange.finite` says which rows.
        counted: this front-end counts the batch; others that had a part in it do not.
        pieces: what it held of this front-end's requests.
        text: what went wrong, as a sentence.
    """

    rows: int
    size: int
    started: float
    seconds: float
    outcome: Outcome
    finite: bool
    counted: bool
    pieces: Sequence[PieceRecord]
    text: str = ""


def pack_request(request: RequestRecord) -> bytes:
    """As a pipe carries it: so short that it is written whole or not at all."""
    return _REQUEST.pack(*request)


class RequestFeed:
    """Requests from the bytes of a pipe, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[RequestRecord]:
        """The requests that are whole by now."""
        data = self._rest + data
        end = len(data) - len(data) % _REQUEST.size
        self._rest = data[end:]
        return map(RequestRecord._make, _REQUEST.iter_unpack(data[:end]))


def pack_batch(answer: BatchAnswer) -> bytes:
    """As a pipe carries it."""
    text = answer.text.encode()[:1000]
    head = _BATCH.pack(
        len(answer.pieces),
        answer.rows,
        answer.size,
        answer.started,
        answer.seconds,
        answer.outcome,
        answer.finite,
        answer.counted,
        len(text),
    )
    return b"".join((head, *(_PIECE.pack(*piece) for piece in answer.pieces), text))


class BatchFeed:
    """Batches from the bytes of a pipe, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[BatchAnswer]:
        """The batches that are whole by now."""
        data = self._rest + data
        position = 0
        while len(data) - position >= _BATCH.size:
            count, rows, size, started, seconds, outcome, finite, counted, length = _BATCH.unpack_from(data, position)
            begin = position + _BATCH.size
            middle, end = begin + count * _PIECE.size, begin + count * _PIECE.size + length
            if len(data) < end:
                break
            pieces = tuple(map(PieceRecord._make, _PIECE.iter_unpack(data[begin:middle])))
            text = data[middle:end].decode(errors="replace")
            yield BatchAnswer(rows, size, started, seconds, Outcome(outcome), finite, counted, pieces, text)
            position = end
        self._rest = data[position:]
