"""Batches on a CUDA device: one launch for a whole batch where there is a graph, two batches at a time.

A batch takes four steps: into pinned memory (by the processor), to the device, through the program, and back into
pinned memory. Two batches may be under way, each on a stream and in memory of its own, so that one is copied while the
other is computed, and small ones are computed beside each other.

A small program takes a GPU less time than its launches take the processor. So for each size of batch that was warmed
up the last three steps are recorded as one CUDA graph, which is launched as a whole; a batch of another size runs in
the next larger graph, and what its further rows hold is nobody's (CUDA C++ Programming Guide, "CUDA Graphs"; Nguyen et
al., "Accelerating PyTorch with CUDA Graphs", 2021).
"""

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import torch

from services.worker.engine.flat import Forward
from services.worker.shared_memory.tensors import Array

_WARM_UPS: Final = 3
"""Runs before a graph is recorded: libraries choose their kernels and take their workspaces at the first ones."""
UNDER_WAY: Final = 2
"""Batches that a GPU may have at a time."""


class Slot(NamedTuple):
    """An input or an output: its type, and the shape of one row."""

    dtype: torch.dtype
    row: tuple[int, ...]


class Streams:
    """Runs batches of one program. One thread at a time, whose current stream it changes.

    Args:
        device: a CUDA device.
        inputs: in the signature's order.
        outputs: likewise.
    """

    def __init__(self, device: torch.device, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> None:
        self._device = device
        self._places = [_Place(device, inputs, outputs) for _ in range(UNDER_WAY)]
        self._free = deque(self._places)
        self._recorded: tuple[int, ...] = ()

    def replay(self, given: Sequence[Array]) -> "Running | None":
        """Hands a batch to a graph, and returns before it has run; None: there is none of its size, or larger.

        Args:
            given: one array per input, [rows, ...]; read before this returns.
        """
        rows = len(given[0])
        size = next_larger(self._recorded, rows)
        return None if size is None else self._begun(rows, lambda place: place.replay(size, given))

    def run(self, forward: Forward, given: Sequence[Array]) -> "Running":
        """Hands a batch to the program itself, and returns before it has run.

        Args:
            forward: the program; called in the precision that is in force.
            given: one array per input, [rows, ...]; read before this returns.

        Raises:
            ValueError: the program gave other shapes than it should.
            Exception: whatever the program raised.
        """
        return self._begun(len(given[0]), lambda place: place.run(forward, given))

    def reserve(self, rows: int) -> None:
        """Takes the memory for two batches of so many rows; none may be under way."""
        for place in self._places:
            place.fit(rows)

    def record(self, forward: Forward, sizes: Sequence[int]) -> None:
        """Records graphs for each size of batch, in the precision that is in force; earlier ones are let go.

        Raises:
            Exception: the program cannot be recorded: it asks the device for a value, or allocates as no graph may.
        """
        self.forget()
        for place in self._places:
            place.record(forward, sizes)
        self._recorded = tuple(sorted(sizes))

    def forget(self) -> None:
        """Lets go of all graphs."""
        torch.cuda.synchronize(self._device)
        self._recorded = ()
        for place in self._places:
            place.forget()

    def keep_in_turn(self) -> None:
        """Has batches run one after another, for a program that writes to what it holds; before any is recorded."""
        for place in self._places:
            place.stream = self._places[0].stream

    def release(self, place: "_Place") -> None:
        """Has room for one batch more."""
        self._free.append(place)

    def _begun(self, rows: int, begin: Callable[["_Place"], "_Memory"]) -> "Running":
        place = self._free.popleft()
        try:
            memory = begin(place)
        except BaseException:
            try:
                # What was begun may still read and write its memory.
                torch.cuda.synchronize(self._device)
            finally:
                self.release(place)
            raise
        return Running(self, place, memory, rows)


class Running:
    """A batch under way."""

    def __init__(self, streams: Streams, place: "_Place", memory: "_Memory", rows: int) -> None:
        self._streams = streams
        self._place = place
        self._memory = memory
        self._rows = rows

    def wait(self) -> tuple[Array, ...]:
        """One array per output, [rows, ...]: valid until another batch begins.

        Raises:
            RuntimeError: the device failed.
        """
        try:
            self._place.wait()
        finally:
            self._streams.release(self._place)
        return tuple([array[: self._rows] for array in self._memory.gives])


class _Place:
    """Where one batch may be under way: a stream, memory, and the graphs that use both.

    Attributes:
        stream: what its batches run on.
    """

    def __init__(self, device: torch.device, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> None:
        self._outputs = outputs
        self._new = functools.partial(_Memory, device, inputs, outputs)
        self._memory = self._new(0)
        self._recorded_memory = self._memory
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch leaves it unannotated
        self._landed = torch.cuda.Event()  # type: ignore[no-untyped-call] # likewise

    def replay(self, size: int, given: Sequence[Array]) -> "_Memory":
        memory = self._recorded_memory
        memory.take(given)
        # Entered and left as a context it would take a tenth of a small batch's time.
        torch.cuda.set_stream(self.stream)
        self._graphs[size].replay()
        self._landed.record(self.stream)
        return memory

    def run(self, forward: Forward, given: Sequence[Array]) -> "_Memory":
        memory = self.fit(len(given[0]))
        memory.take(given)
        torch.cuda.set_stream(self.stream)
        self._steps(forward, memory, len(given[0]))
        self._landed.record(self.stream)
        return memory

    def wait(self) -> None:
        self._landed.synchronize()

    def fit(self, rows: int) -> "_Memory":
        """Memory for so many rows or more. What is recorded keeps the memory that it was recorded with."""
        if rows > self._memory.rows:
            self._memory = self._new(rows)
        return self._memory

    def record(self, forward: Forward, sizes: Sequence[int]) -> None:
        memory = self._recorded_memory = self.fit(max(sizes))
        pool = torch.cuda.graph_pool_handle()
        # The largest first: the smaller ones then find memory for all they need in what it took.
        for size in sorted(sizes, reverse=True):
            with torch.cuda.stream(self.stream):
                for _ in range(_WARM_UPS):
                    self._steps(forward, memory, size)
            self.stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # On this place's stream: workspaces of libraries are a stream's, and both places' graphs run at a time.
            with torch.cuda.graph(graph, pool=pool, stream=self.stream):
                self._steps(forward, memory, size)
            self._graphs[size] = graph

    def forget(self) -> None:
        self._graphs.clear()
        self._recorded_memory = self._memory

    def _steps(self, forward: Forward, memory: "_Memory", rows: int) -> None:
        for brought, taken in zip(memory.brought, memory.taken, strict=True):
            brought[:rows].copy_(taken[:rows], non_blocking=True)
        outputs = forward(*(one[:rows] for one in memory.brought))
        for slot, left, output in zip(self._outputs, memory.left, outputs, strict=True):
            # What has another shape might be spread over the rows without a word.
            if tuple(output.shape) != (rows, *slot.row):
                raise ValueError(f"an output has the shape {list(output.shape)}, not {[rows, *slot.row]}")
            left[:rows].copy_(output)
        for given_back, left in zip(memory.given_back, memory.left, strict=True):
            given_back[:rows].copy_(left[:rows], non_blocking=True)


class _Memory:
    """Memory of one batch, [rows, ...] each: pinned (taken, given_back) and the device's (brought, left).

    Attributes:
        gives: `given_back` as arrays.
    """

    def __init__(self, device: torch.device, inputs: Sequence[Slot], outputs: Sequence[Slot], rows: int) -> None:
        self.rows = rows
        self.taken, self.given_back = ([_pinned(slot, rows) for slot in slots] for slots in (inputs, outputs))
        self.brought, self.left = (
            [torch.zeros(rows, *slot.row, dtype=slot.dtype, device=device) for slot in slots]
            for slots in (inputs, outputs)
        )
        self._takes = [_array(one) for one in self.taken]
        self.gives = [_array(one) for one in self.given_back]
        # Filled with zeros on the current stream, before others use it.
        torch.cuda.synchronize(device)

    def take(self, given: Sequence[Array]) -> None:
        """Copies inputs into pinned memory."""
        for taken, array in zip(self._takes, given, strict=True):
            taken[: len(array)] = array


def next_larger(sizes: Sequence[int], rows: int) -> int | None:
    """The smallest of these sizes, ascending, that so many rows fit into; None: none is large enough."""
    return next((size for size in sizes if size >= rows), None)


def limit_memory(device: torch.device, limit: int) -> None:
    """Lets this process allocate so many bytes of the device's memory at most; beyond it, it is out of memory."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)


def _pinned(slot: Slot, rows: int) -> torch.Tensor:
    return torch.zeros(rows, *slot.row, dtype=slot.dtype, pin_memory=True)


def _array(tensor: torch.Tensor) -> Array:
    """The same memory; bfloat16, which numpy has not, as 16-bit integers."""
    array: Array = (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return array
