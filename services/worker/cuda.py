"""Batches on a CUDA device: copies beside the computation, and one launch for a whole program where there is a graph.

A batch takes four steps, each on a stream of its own kind and ordered by events: into pinned memory (by the processor),
to the device, through the program, and back into pinned memory. Two batches may be under way, each in staging memory of
its own, so that one is copied while the other is computed.

A small program takes a GPU less time than its launches take the processor. So for each size of batch that was warmed
up the program is recorded as a CUDA graph, which is launched as a whole; a batch of another size runs in the next
larger graph, and what its further rows hold is thrown away (CUDA C++ Programming Guide, "CUDA Graphs"; Nguyen et al.,
"Accelerating PyTorch with CUDA Graphs", 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch

from services.worker.flat import Forward

_WARM_UPS: Final = 3
"""Runs before a graph is recorded: libraries choose their kernels and take their workspaces at the first ones."""
_UNDER_WAY: Final = 2


class Slot(NamedTuple):
    """An input or an output: its type, and the shape of one row."""

    dtype: torch.dtype
    row: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A recorded program: where it reads its rows, and where it leaves what it gives."""

    graph: torch.cuda.CUDAGraph
    inputs: Sequence[torch.Tensor]
    outputs: Sequence[torch.Tensor]


class Streams:
    """Runs batches of one program. One thread at a time.

    Args:
        device: a CUDA device.
        inputs: in the signature's order.
        outputs: likewise.
    """

    def __init__(self, device: torch.device, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> None:
        self._device = device
        self._inputs, self._outputs = inputs, outputs
        self._in, self._compute, self._out = (_stream(device) for _ in range(3))
        self._free = [_Staging(device, inputs, outputs) for _ in range(_UNDER_WAY)]
        self._graphs: dict[int, Graph] = {}

    def begin(self, forward: Forward, given: Sequence[torch.Tensor]) -> "Running":
        """Hands a batch over, and returns before it has run.

        Args:
            forward: the program; called in the precision that is in force, unless a graph takes its place.
            given: one tensor per input, [rows, ...], in the processor's memory; read before this returns.

        Raises:
            ValueError: the program gave other shapes than it should.
            Exception: whatever the program raised.
        """
        rows = len(given[0])
        staging = self._free.pop()
        try:
            staging.fit(rows)
            arrived = self._bring(staging, given, rows)
            self._compute.wait_event(arrived)
            with torch.cuda.stream(self._compute):
                outputs = self._through(forward, staging, rows)
                for kept, output in zip(staging.left, outputs, strict=True):
                    kept[:rows].copy_(output[:rows])
                computed = self._compute.record_event()
            self._out.wait_event(computed)
            with torch.cuda.stream(self._out):
                for host, kept in zip(staging.given_back, staging.left, strict=True):
                    host[:rows].copy_(kept[:rows], non_blocking=True)
                landed = self._out.record_event()
        except BaseException:
            try:
                # What was begun may still read and write it.
                torch.cuda.synchronize(self._device)
            finally:
                self._free.append(staging)
            raise
        return Running(self, staging, rows, landed)

    def reserve(self, rows: int) -> None:
        """Takes the memory for two batches of so many rows; none may be under way."""
        for staging in self._free:
            staging.fit(rows)

    def record(self, forward: Forward, sizes: Sequence[int]) -> None:
        """Records a graph for each size of batch, in the precision that is in force; earlier ones are let go.

        Raises:
            Exception: the program cannot be recorded: it asks the device for a value, or allocates as no graph may.
        """
        self.forget()
        largest = max(sizes)
        memory = [torch.zeros(largest, *slot.row, dtype=slot.dtype, device=self._device) for slot in self._inputs]
        # Filled on another stream than the program runs on.
        torch.cuda.synchronize(self._device)
        pool = torch.cuda.graph_pool_handle()
        graphs: dict[int, Graph] = {}
        # The largest first: the smaller ones then find memory for all they need in what it took.
        for rows in sorted(sizes, reverse=True):
            inputs = [one[:rows] for one in memory]
            with torch.cuda.stream(self._compute):
                for _ in range(_WARM_UPS):
                    forward(*inputs)
            self._compute.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, stream=self._compute):
                outputs = self._checked(forward(*inputs), rows)
            graphs[rows] = Graph(graph, inputs, outputs)
        self._graphs = dict(sorted(graphs.items()))

    def forget(self) -> None:
        """Lets go of all graphs."""
        torch.cuda.synchronize(self._device)
        self._graphs = {}

    @property
    def recorded(self) -> tuple[int, ...]:
        """Sizes of batches that there is a graph for, ascending."""
        return tuple(self._graphs)

    def release(self, staging: "_Staging") -> None:
        """Takes staging memory back."""
        self._free.append(staging)

    def _bring(self, staging: "_Staging", given: Sequence[torch.Tensor], rows: int) -> torch.cuda.Event:
        for host, one in zip(staging.taken, given, strict=True):
            host[:rows].copy_(one)
        with torch.cuda.stream(self._in):
            for arrived, host in zip(staging.brought, staging.taken, strict=True):
                arrived[:rows].copy_(host[:rows], non_blocking=True)
            event: torch.cuda.Event = self._in.record_event()
        return event

    def _through(self, forward: Forward, staging: "_Staging", rows: int) -> Sequence[torch.Tensor]:
        """What the program gives for the rows that were brought, or for these and further ones."""
        size = next_larger(self.recorded, rows)
        if size is None:
            return self._checked(forward(*(one[:rows] for one in staging.brought)), rows)
        graph = self._graphs[size]
        for there, brought in zip(graph.inputs, staging.brought, strict=True):
            there[:rows].copy_(brought[:rows])
        graph.graph.replay()
        return graph.outputs

    def _checked(self, outputs: Sequence[torch.Tensor], rows: int) -> Sequence[torch.Tensor]:
        # What has another shape might be spread over the rows without a word.
        for slot, output in zip(self._outputs, outputs, strict=True):
            if tuple(output.shape) != (rows, *slot.row):
                raise ValueError(f"an output has the shape {list(output.shape)}, not {[rows, *slot.row]}")
        return outputs


class Running:
    """A batch under way."""

    def __init__(self, streams: Streams, staging: "_Staging", rows: int, landed: torch.cuda.Event) -> None:
        self._streams = streams
        self._staging = staging
        self._rows = rows
        self._landed = landed

    def wait(self) -> list[torch.Tensor]:
        """One tensor per output, [rows, ...], in the processor's memory: valid until another batch begins.

        Raises:
            RuntimeError: the device failed.
        """
        try:
            self._landed.synchronize()
        finally:
            self._streams.release(self._staging)
        return [host[: self._rows] for host in self._staging.given_back]


class _Staging:
    """Memory for one batch under way: pinned (taken, given_back) and the device's (brought, left)."""

    def __init__(self, device: torch.device, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> None:
        self._device = device
        self._inputs, self._outputs = inputs, outputs
        self._rows = 0
        self.taken: list[torch.Tensor] = []
        self.brought: list[torch.Tensor] = []
        self.left: list[torch.Tensor] = []
        self.given_back: list[torch.Tensor] = []

    def fit(self, rows: int) -> None:
        """Has room for so many rows."""
        if rows <= self._rows:
            return
        # By its new size at once: what is copied at present is of another batch, whose memory is its own.
        torch.cuda.synchronize(self._device)
        self.taken, self.given_back = (_pinned(slots, rows) for slots in (self._inputs, self._outputs))
        self.brought, self.left = (
            [torch.zeros(rows, *slot.row, dtype=slot.dtype, device=self._device) for slot in slots]
            for slots in (self._inputs, self._outputs)
        )
        # Filled with zeros on the current stream, before others use it.
        torch.cuda.synchronize(self._device)
        self._rows = rows


def next_larger(sizes: Sequence[int], rows: int) -> int | None:
    """The smallest of these sizes, ascending, that so many rows fit into; None: none is large enough."""
    return next((size for size in sizes if size >= rows), None)


def limit_memory(device: torch.device, limit: int) -> None:
    """Lets this process allocate so many bytes of the device's memory at most; beyond it, it is out of memory."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch leaves it unannotated


def _pinned(slots: Sequence[Slot], rows: int) -> list[torch.Tensor]:
    return [torch.zeros(rows, *slot.row, dtype=slot.dtype, pin_memory=True) for slot in slots]
