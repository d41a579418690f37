"""What a front-end and the engine of a version share: rows of tensors in memory, and a pipe each way.

Tensors lie in memory that both have mapped, so that nothing is packed or pickled: a request's bytes are copied in once
and its answer out once. The pipes carry what is little: which rows a request has, what became of a batch. A pipe wakes
its reader, orders what one process has written before what the other reads, and ends when its writer does.
"""

import contextlib
import fcntl
import mmap
import os
import select
from collections.abc import Iterable
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from crossfade.connection import MESSAGE_LIMIT
from crossfade.tensor_spec import Signature, TensorSpec
from services.worker.shared_memory.outputs import room_for_rows
from services.worker.shared_memory.tensors import STORED, Array, row_bytes

_SHARED_BYTES: Final = 256 << 20
"""Memory of one front-end's rows, unless the largest request alone takes more."""
_PIPE_BYTES: Final = 1 << 17
_READ_BYTES: Final = 1 << 16


class Exchange:
    """The memory and the pipes between one front-end and the engine; made before either is forked.

    Attributes:
        largest: rows of the largest request.
        bound: rows that requests may have together, unless one alone has more.
        capacity: rows that there is memory for.
        inputs: one array per input of the signature, [capacity, ...].
        outputs: one array per output, [capacity, ...].
        classes: the predicted class of each row, by its index.
        finite: whether the outputs of each row are finite.
        busy_since: when the batch that runs began, by the machine's monotonic clock; 0: none runs.
        requests: what the front-end writes; see `records`.
        answers: what the engine writes.

    Args:
        signature: the version's.
        rows: how many requests may have together, those that run included, if the memory for them is not too much.
    """

    def __init__(self, signature: Signature, rows: int) -> None:
        given, answered = row_bytes(signature.inputs), row_bytes(signature.outputs)
        # Neither a request nor its answer may be larger than a message.
        room = room_for_rows(signature.outputs)
        self.largest = max(1, min(MESSAGE_LIMIT // max(given, 1), room // max(answered, 1)))
        self.bound = min(rows, _SHARED_BYTES // max(given + answered, 1))
        self.capacity = max(self.largest, self.bound)
        self.inputs = [self._shared(spec) for spec in signature.inputs]
        self.outputs = [self._shared(spec) for spec in signature.outputs]
        self.classes: Array = _mapped((self.capacity,), np.dtype(np.int32))
        self.finite: Array = _mapped((self.capacity,), np.dtype(np.bool_))
        self.busy_since: npt.NDArray[np.float64] = _mapped((1,), np.dtype(np.float64))
        self.requests = Pipe()
        self.answers = Pipe()

    def keep_engine_side(self) -> None:
        """Of the engine's process: leaves the front-end's ends to it, so that each side sees the other's end."""
        self.requests.close_writing()
        self.answers.close_reading()

    def keep_front_end_side(self) -> None:
        """Of the front-end's process: leaves the engine's ends to it."""
        self.requests.close_reading()
        self.answers.close_writing()

    def _shared(self, spec: TensorSpec) -> Array:
        return _mapped((self.capacity, *spec.shape[1:]), STORED[spec.dtype])


def keep_own_side(exchanges: Iterable[Exchange], own: Exchange) -> None:
    """Of a front-end's process: leaves the exchanges of the others to them."""
    for exchange in exchanges:
        exchange.keep_front_end_side()
        if exchange is not own:
            exchange.keep_engine_side()


class Pipe:
    """A pipe whose ends do not block."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            # A user may have only so many large pipes; a small one works as well.
            fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def close_reading(self) -> None:
        """Of the process that writes."""
        os.close(self.reading)

    def close_writing(self) -> None:
        """Of the process that reads."""
        os.close(self.writing)

    def write(self, data: bytes) -> int:
        """Writes what there is room for, and answers how many bytes that were.

        Raises:
            BrokenPipeError: the reader has ended.
        """
        try:
            return os.write(self.writing, data)
        except BlockingIOError:
            return 0

    def write_all(self, data: bytes) -> None:
        """Writes however much it is, and waits for the reader where it must.

        Raises:
            BrokenPipeError: the reader has ended.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self.writing, rest) :]
            except BlockingIOError:
                select.select((), (self.writing,), ())

    def read(self) -> bytes | None:
        """What has come; empty: nothing yet; None: the writer has ended."""
        try:
            return os.read(self.reading, _READ_BYTES) or None
        except BlockingIOError:
            return b""


def _mapped(shape: tuple[int, ...], dtype: "np.dtype[np.generic]") -> Array:
    size = prod(shape) * dtype.itemsize
    # Anonymous shared memory, which forks inherit and the system frees with the last of them.
    array: Array = np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype, count=prod(shape)).reshape(shape)
    return array
