"""A loaded program on its device: numpy arrays in, numpy arrays out, in full or mixed precision.

The same code on CUDA and on the CPU: a CPU has no copies to overlap and runs in full precision unless told otherwise.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from crossfade.manifest import Manifest, Precision
from crossfade.tensor_spec import DType
from services.worker.engine.cuda import Running, Slot, Streams
from services.worker.engine.finite import is_finite
from services.worker.engine.flat import Forward, flatten
from services.worker.engine.memory_of_graphs import writes_to_inputs
from services.worker.engine.placement import place
from services.worker.shared_memory.tensors import Array, to_numbers

TORCH: Final[dict[DType, torch.dtype]] = {
    DType.BOOL: torch.bool,
    DType.UINT8: torch.uint8,
    DType.INT8: torch.int8,
    DType.INT16: torch.int16,
    DType.INT32: torch.int32,
    DType.INT64: torch.int64,
    DType.FP16: torch.float16,
    DType.BF16: torch.bfloat16,
    DType.FP32: torch.float32,
    DType.FP64: torch.float64,
}
_BF16_INSTRUCTIONS: Final = ("avx512_bf16", "amx_bf16", "bf16")
MIXED: Final = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


class EngineOutput(NamedTuple):
    """What one batch gave.

    Attributes:
        arrays: one per output, [rows, ...].
        finite: whether no output of a row holds NaN or an infinity, [rows]; None: no output does.
        classes: the predicted class of each row, by its index, [rows]; None: the model is no classification.
    """

    arrays: tuple[Array, ...]
    finite: Array | None = None
    classes: Array | None = None


def choose_device(name: str) -> torch.device:
    """The device that the setting names; `auto` is CUDA where there is one.

    Raises:
        ValueError: a CUDA device is asked for that is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        index = device.index or 0
        if index >= torch.cuda.device_count():
            raise ValueError(f"no device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
        return torch.device("cuda", index)
    return device


def mixed_precision(device: torch.device, wanted: Precision) -> Precision | None:
    """The mixed precision to try; None: full precision only.

    On CUDA bfloat16 where the device has it, else float16. A CPU tries bfloat16 where it has instructions for it, and
    otherwise only what is asked for.
    """
    if wanted is Precision.FP32:
        return None
    if wanted is not Precision.AUTO:
        return wanted
    if device.type != "cuda":
        return Precision.BF16 if any(map(torch.cpu.get_capabilities().get, _BF16_INSTRUCTIONS)) else None
    return Precision.BF16 if torch.cuda.is_bf16_supported(including_emulation=False) else Precision.FP16


class Engine:
    """Runs batches of one program. One thread at a time.

    Args:
        module: a program that takes the inputs in the signature's order and gives a sequence of outputs.
        manifest: signature and scores of the program.
        device: where it runs; its parameters are moved there.
    """

    def __init__(self, module: torch.nn.Module, manifest: Manifest, device: torch.device) -> None:
        signature = manifest.signature
        self.device = device
        self.precision = Precision.FP32
        self._signature = signature
        self._module: torch.nn.Module | None = place(module, device)
        self._as_loaded = _writes(self._module)
        self._forwards: dict[Precision, Forward] = {}
        self._inputs = [TORCH[spec.dtype] for spec in signature.inputs]
        self._outputs = [TORCH[spec.dtype] for spec in signature.outputs]
        self._floats = [(i, spec.dtype) for i, spec in enumerate(signature.outputs) if spec.dtype.is_float]
        self._slots = range(len(signature.inputs))
        self._scores = next((i for i, spec in enumerate(signature.outputs) if spec.name == manifest.scores), None)
        # What fails may be run again.
        self._copies = not isinstance(module, torch.fx.GraphModule) or writes_to_inputs(module.graph)
        self._streams: Streams | None = None
        self._recorded = Precision.FP32
        if device.type == "cuda":
            # Pinned memory and graphs are of the current device.
            torch.cuda.set_device(device)
            given, gives = (
                [Slot(TORCH[spec.dtype], tuple(spec.shape[1:])) for spec in specs]
                for specs in (signature.inputs, signature.outputs)
            )
            self._streams = Streams(device, given, gives)

    def run(self, inputs: Sequence[Array], precision: Precision | None = None) -> EngineOutput:
        """Runs one batch.

        Args:
            inputs: one array per input, [rows, ...], writable: the program gets them as they lie, or a copy if
                it may write to them.
            precision: what to run in; None: `self.precision`.

        Raises:
            Exception: whatever the program raised.
        """
        begun = self.begin(inputs, precision)
        if isinstance(begun, EngineOutput):
            return begun
        output = begun.wait()
        return output._replace(arrays=tuple([array.copy() for array in output.arrays]))

    def begin(self, inputs: Sequence[Array], precision: Precision | None = None) -> "EngineOutput | Begun":
        """Runs one batch on a CPU, or hands it to a GPU, which may have two of them at a time; otherwise as `run`."""
        chosen = precision or self.precision
        if self._streams is not None:
            return Begun(self._handed_over(self._streams, inputs, chosen), self._output)
        forward = self._forward(chosen)
        with torch.inference_mode():
            if chosen is Precision.FP32:
                return self._output(self._run_here(forward, inputs))
            with self._autocast(chosen):
                return self._output(self._run_here(forward, inputs))

    def drop(self, precision: Precision) -> None:
        """Lets go of what a precision needs that it will not run in."""
        self._forwards.pop(precision, None)

    def reserve(self, rows: int) -> None:
        """Takes the memory that batches of so many rows need on their way to a GPU and back."""
        if self._streams is not None:
            self._streams.reserve(rows)

    def record(self, sizes: Sequence[int], precision: Precision | None = None) -> None:
        """Records a graph for each size of batch, if it runs on CUDA; what was recorded before is let go.

        Args:
            sizes: rows of each.
            precision: what it runs in; None: `self.precision`.

        Raises:
            Exception: the program cannot be recorded.
        """
        if self._streams is not None:
            self._recorded = precision or self.precision
            forward = self._forward(self._recorded)
            with torch.inference_mode(), self._autocast(self._recorded):
                self._streams.record(forward, sizes)

    def forget(self) -> None:
        """Lets go of what was recorded."""
        if self._streams is not None:
            self._streams.forget()

    def settle(self, precision: Precision) -> None:
        """Runs in this precision from here on, and lets go of what another one would need.

        By now batches have shown whether the program writes to what it holds. If it does, they run in turn.
        """
        self._forwards = {precision: self._forward(precision)}
        if self._streams is not None and self.writes_to_itself:
            self._streams.keep_in_turn()
        self.precision, self._module = precision, None

    def tensors(self, inputs: Sequence[Array]) -> list[torch.Tensor]:
        """One batch's inputs on the device, as the program takes them."""
        return [self._tensor(array, slot).to(self.device) for slot, array in enumerate(inputs)]

    def take(self, forward: Forward) -> Forward:
        """Runs this program in the settled precision from here on; gives back what ran before."""
        before, self._forwards[self.precision] = self._forwards[self.precision], forward
        return before

    @property
    def keeps_nothing(self) -> bool:
        """Whether the program writes neither to what it is given nor to what it holds; asked until it is settled."""
        return not (self._copies or self.writes_to_itself)

    @property
    def writes_to_itself(self) -> bool:
        """Whether a batch so far has written to what the program holds; asked until it is settled."""
        return self._module is not None and _writes(self._module) != self._as_loaded

    def _forward(self, precision: Precision) -> Forward:
        made = self._forwards.get(precision)
        if made is None:
            assert self._module is not None  # noqa: S101 - for the type checker: nobody asks for another once it is settled
            made = self._forwards[precision] = _called(self._module, MIXED.get(precision))
            if self._streams is not None:
                # The weights are cast on another stream than the program runs on.
                torch.cuda.synchronize(self.device)
        return made

    def _handed_over(self, streams: Streams, inputs: Sequence[Array], precision: Precision) -> Running:
        running = streams.replay(inputs) if precision is self._recorded else None
        if running is not None:
            return running
        forward = self._forward(precision)
        with torch.inference_mode(), self._autocast(precision):
            return streams.run(forward, inputs)

    def _run_here(self, forward: Forward, inputs: Sequence[Array]) -> tuple[Array, ...]:
        given = [array.copy() for array in inputs] if self._copies else inputs
        outputs = forward(*[self._tensor(given[slot], slot) for slot in self._slots])
        return tuple([self._array(output, slot) for slot, output in enumerate(outputs)])

    def _output(self, arrays: tuple[Array, ...]) -> EngineOutput:
        if all(is_finite(arrays[i], dtype) for i, dtype in self._floats):
            return EngineOutput(arrays, None, self._predicted(arrays))
        return EngineOutput(arrays, self._finite_rows(arrays), self._predicted(arrays))

    def _predicted(self, arrays: tuple[Array, ...]) -> Array | None:
        if self._scores is None:
            return None
        scores = arrays[self._scores]
        dtype = self._signature.outputs[self._scores].dtype
        classes: Array = (to_numbers(dtype, scores) if dtype is DType.BF16 else scores).argmax(axis=1)
        return classes

    def _finite_rows(self, arrays: tuple[Array, ...]) -> Array:
        finite = np.ones(len(arrays[0]), np.bool_)
        for slot, dtype in self._floats:
            finite &= [is_finite(row, dtype) for row in arrays[slot]]
        return finite

    def _autocast(self, precision: Precision) -> contextlib.AbstractContextManager[Any]:
        mixed = MIXED.get(precision)
        if mixed is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=mixed)

    def _tensor(self, array: Array, slot: int) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        dtype = self._inputs[slot]
        return tensor.view(dtype) if dtype is torch.bfloat16 else tensor

    def _array(self, output: torch.Tensor, slot: int) -> Array:
        dtype = self._outputs[slot]
        if output.dtype is not dtype:
            output = output.to(dtype)
        if dtype is torch.bfloat16:
            output = output.view(torch.int16)
        array: Array = output.numpy()
        return array


class Begun:
    """A batch that a GPU has."""

    def __init__(self, running: Running, made: Callable[[tuple[Array, ...]], EngineOutput]) -> None:
        self._running = running
        self._made = made

    def wait(self) -> EngineOutput:
        """What it gives, as soon as it does; valid until another batch begins.

        Raises:
            Exception: whatever the program raised.
        """
        return self._made(self._running.wait())


def _called(module: torch.nn.Module, mixed: torch.dtype | None) -> Forward:
    # An architecture's module is its author's own code, which is no graph.
    return flatten(module, mixed) if isinstance(module, torch.fx.GraphModule) else module


def _writes(module: torch.nn.Module) -> int:
    """How often what the module holds has been written to."""
    held = [*module.parameters(), *module.buffers()]
    held += [one for part in module.modules() for one in vars(part).values() if isinstance(one, torch.Tensor)]
    return sum(one._version for one in held if not one.is_inference())  # noqa: SLF001 - nothing public tells
