"""The torch side of packaging: run a module, export it with a dynamic batch, check the program, save it."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossfade.architecture import Architecture
from crossfade.artifact.archive import UnwrittenError, pickled_parts, save_program
from crossfade.artifact.building import write_weights
from crossfade.artifact.export_faults import advice, export_problem, first_line
from crossfade.artifact.folder import AnsweredRows
from crossfade.artifact.tensors import (
    Tensors,
    agree,
    answered_rows,
    described,
    joined,
    name_inputs,
    no_module,
    output_tensors,
    row_count,
    row_unlike,
    specs,
    take,
    to_tensor,
)
from crossfade.tensor_spec import Signature

MAX_REFERENCE_ROWS = 20_000
_REFERENCE_BATCH = 256


class ExportError(Exception):
    """The module can't be exported; the message says what to change."""


class ExportableModel:
    """A copy of the user's module, in evaluation mode on the CPU, with named inputs and outputs.

    Attributes:
        signature: names, types and shapes, as the example showed them.
        by_name: it takes its inputs by their names.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        example: Any,
        input_names: Sequence[str] | None,
        output_names: Sequence[str] | None,
    ) -> None:
        """Copy the module and let it answer the example. Raises ExportError where that can't be done."""
        if not isinstance(module, torch.nn.Module):
            raise ExportError(f"module: it must be a torch.nn.Module, not {no_module(module)}")
        if isinstance(module, torch.jit.ScriptModule):
            raise ExportError(
                "module: it is in TorchScript, which can't be exported: give the module that it was made of"
            )
        try:
            self._module = copy.deepcopy(module).cpu().eval()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise ExportError(f"the module can't be copied: {first_line(error)}") from error
        self.by_name = isinstance(example, Mapping)
        self._input_names = name_inputs(module, example, input_names)
        self._output_names = output_names
        self._example = self._tensors(example, "example")
        two_rows = take(self._example, slice(2))
        outputs = self._answer(two_rows)
        for name, output in outputs.items():
            if output.shape[:1] != (row_count(two_rows),):
                raise ExportError(
                    f"output {name!r} has the shape {list(output.shape)} for {row_count(two_rows)} rows: its first"
                    " dimension must be the batch"
                )
        self.signature = Signature(specs(self._example), specs(outputs))

    def golden_inputs(self, golden: Any) -> Tensors:
        """The first rows of the example, as many as `golden` says, or the rows that it holds."""
        if isinstance(golden, int):
            if golden < 1:
                raise ExportError(f"golden: {golden} rows prove nothing; at least one is needed")
            return take(self._example, slice(golden))
        return self._like_example(golden, "golden")

    def checked_answer(self, inputs: Tensors) -> Tensors:
        """The module's answer for golden rows.

        Raises ExportError if it is NaN or infinite, changes from call to call, or depends on other rows.
        """
        outputs = self._answer(inputs)
        for name, output in outputs.items():
            finite = torch.isfinite(output).reshape(len(output), -1).all(dim=1)
            if not finite.all():
                bad = ", ".join(str(int(row)) for row in (~finite).nonzero())
                raise ExportError(
                    f"output {name!r} is NaN or infinite for the golden rows {bad}: repair the module, or choose"
                    " rows that it answers with golden=..."
                )
        if not agree(self._answer(inputs), outputs):
            raise ExportError("the module answers the same rows differently each time: remove what is random in it")
        alone = [self._answer(take(inputs, slice(row, row + 1))) for row in range(row_count(inputs))]
        if not agree(joined(alone), outputs) or self._heeds_others(inputs, outputs):
            raise ExportError(
                "the answer for a row depends on the other rows of its batch: workers put rows of many callers into"
                " one batch, so compute each row by itself (nothing over dimension 0)"
            )
        return outputs

    def _heeds_others(self, inputs: Tensors, outputs: Tensors) -> bool:
        """Whether rows are answered otherwise beside one unlike them: a single one shows nothing of that by itself."""
        try:
            beside = self._answer(joined([inputs, row_unlike(inputs)]))
        except ExportError:
            # Nobody has promised that such a row is answered.
            return False
        return not agree(take(beside, slice(row_count(inputs))), outputs)

    def answer_reference(self, reference: Any) -> AnsweredRows:
        """At most MAX_REFERENCE_ROWS of the reference, drawn evenly with a fixed seed, and the module's answers."""
        inputs = self._like_example(reference, "reference")
        rows = row_count(inputs)
        if rows > MAX_REFERENCE_ROWS:
            drawn = np.sort(np.random.default_rng(0).choice(rows, MAX_REFERENCE_ROWS, replace=False))
            inputs = {name: tensor[torch.from_numpy(drawn)] for name, tensor in inputs.items()}
        starts = range(0, row_count(inputs), _REFERENCE_BATCH)
        answers = [self._answer(take(inputs, slice(start, start + _REFERENCE_BATCH))) for start in starts]
        return answered_rows(inputs, joined(answers))

    def export(self, path: Path, inputs: Tensors, outputs: Tensors, max_batch: int) -> None:
        """Export with a batch from 1 to `max_batch`, compare with the module's `outputs` for `inputs`, and save.

        Two things are left out of the saved program. Its nodes `aten._assert_tensor_metadata` pin dtypes, so that
        autocast would fail wherever the module casts. Its example inputs would be stored as a pickle, and are
        someone's data.

        Raises ExportError if the program can't be exported, answers otherwise, or can't be stored without pickle, and
        OSError if the file can't be written.
        """
        golden = _golden_rows(inputs, max_batch)
        batch = torch.export.Dim("batch", min=1, max=max_batch)
        # torch.export takes a batch of 1 for a constant; one unlike the golden rows shows a batch that was fixed.
        rows = torch.arange(2 if golden == 3 else 3) % row_count(self._example)
        sample = tuple(tensor[rows] for tensor in self._example.values())
        try:
            with torch.no_grad():
                program = torch.export.export(
                    self._positional(), sample, dynamic_shapes=(tuple({0: batch} for _ in sample),)
                )
            _erase_metadata_checks(program)
            program.example_inputs = None
            save_program(program, path)
        except UnwrittenError:
            raise
        except Exception as error:
            # Tracing runs the user's code, which may raise anything.
            raise ExportError(export_problem(error)) from error
        for count in (1, golden):
            _check_program(program, take(inputs, slice(count)), take(outputs, slice(count)))
        if pickled := pickled_parts(path):
            raise ExportError(
                f"{', '.join(pickled)} can only be stored as a pickle, which workers refuse: use plain tensors"
            )

    def store_weights(
        self, path: Path, architecture: Architecture, inputs: Tensors, outputs: Tensors, max_batch: int
    ) -> None:
        """Store the weights alone, and compare the architecture's module that has them with `outputs` for `inputs`.

        Raises ExportError if it answers otherwise, and ArchitectureError if they are not the architecture's weights.
        """
        golden = _golden_rows(inputs, max_batch)
        built = write_weights(path, self._module, architecture)
        what = f"the architecture {architecture.name!r}, with these weights and a batch of"
        for count in (1, golden):
            expected = take(outputs, slice(count))
            answer = self._answer(take(inputs, slice(count)), built, f"{what} {count},")
            if list(answer) != list(expected) or not agree(answer, expected):
                raise ExportError(
                    f"{what} {count}, answers differently from the module: its config must say all that is not in the "
                    "weights"
                )

    def _answer(self, inputs: Tensors, module: torch.nn.Module | None = None, what: str = "the module") -> Tensors:
        """What the module answers, or another one in its place."""
        run = module or self._module
        try:
            with torch.no_grad():
                # Copies: the module may write into its inputs.
                copies = {name: tensor.clone() for name, tensor in inputs.items()}
                raw = run(**copies) if self.by_name else run(*copies.values())
        except Exception as error:
            # The user's code may raise anything.
            raise ExportError(f"{what} fails on its inputs: {first_line(error)}{advice(error)}") from error
        outputs = output_tensors(raw)
        if self._output_names is None:
            return outputs
        if len(self._output_names) != len(outputs):
            raise ExportError(f"output_names: {len(self._output_names)} names for {len(outputs)} outputs")
        return dict(zip(self._output_names, outputs.values(), strict=True))

    def _positional(self) -> torch.nn.Module:
        """A module that takes the inputs by position and returns a tuple, whatever the user's module does."""
        module, names, by_name = self._module, tuple(self._example), self.by_name

        class Positional(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.module = module

            def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
                named = dict(zip(names, inputs, strict=True))
                raw = self.module(**named) if by_name else self.module(*inputs)
                return tuple(output_tensors(raw).values())

        return Positional()

    def _tensors(self, rows: Any, what: str) -> Tensors:
        if isinstance(rows, list) and any(isinstance(row, list | tuple | int | float) for row in rows):
            raise ExportError(
                f"{what}: a list of rows is no array: give an array [rows, ...]: numpy.asarray(X, 'float32'); a list "
                "has one array for each of several inputs"
            )
        values = tuple(rows.values()) if isinstance(rows, Mapping) else rows
        values = tuple(values) if isinstance(values, tuple | list) else (values,)
        if len(values) != len(self._input_names):
            raise ExportError(f"{what}: {len(values)} inputs instead of {len(self._input_names)}")
        tensors = {
            name: to_tensor(value, f"{what}: input {name!r}", self._float_dtype)
            for name, value in zip(self._input_names, values, strict=True)
        }
        counts = {len(tensor) for tensor in tensors.values()}
        if len(counts) > 1 or counts == {0}:
            raise ExportError(f"{what}: each input needs the same number of rows, at least one, not {sorted(counts)}")
        return tensors

    def _like_example(self, rows: Any, what: str) -> Tensors:
        if isinstance(rows, Mapping) and isinstance(self._example, Mapping):
            unknown = [name for name in self._example if name not in rows]
            if unknown:
                raise ExportError(f"{what}: the input {unknown[0]!r} is missing")
            rows = {name: rows[name] for name in self._example}
        tensors = self._tensors(rows, what)
        for name, tensor in tensors.items():
            example = self._example[name]
            if (tensor.dtype, tensor.shape[1:]) != (example.dtype, example.shape[1:]):
                raise ExportError(
                    f"{what}: input {name!r} has {described(tensor)} where the example has {described(example)}"
                )
        return tensors

    @property
    def _float_dtype(self) -> torch.dtype | None:
        """The one type of float that the module computes in; None where it has none or several."""
        state = (*self._module.parameters(), *self._module.buffers())
        dtypes = {tensor.dtype for tensor in state if tensor.is_floating_point()}
        return dtypes.pop() if len(dtypes) == 1 else None


def _golden_rows(inputs: Tensors, max_batch: int) -> int:
    golden = row_count(inputs)
    if max_batch < max(2, golden):
        raise ExportError(f"max_batch: {max_batch} is too small for {golden} golden rows; at least 2 are needed")
    return golden


def _check_program(program: torch.export.ExportedProgram, inputs: Tensors, outputs: Tensors) -> None:
    what = f"the exported program, with a batch of {row_count(inputs)},"
    try:
        with torch.no_grad():
            answer = program.module()(*(tensor.clone() for tensor in inputs.values()))
    except (RuntimeError, AssertionError) as error:
        raise ExportError(f"{what} fails: {first_line(error)}") from error
    if not agree(dict(zip(outputs, answer, strict=True)), outputs):
        raise ExportError(
            f"{what} answers differently from the module: forward() must not depend on Python state or on the values"
            " of its inputs"
        )


def _erase_metadata_checks(program: torch.export.ExportedProgram) -> None:
    for part in program.graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            for node in list(part.graph.nodes):
                if node.target is torch.ops.aten._assert_tensor_metadata.default:  # noqa: SLF001 - the op's name
                    part.graph.erase_node(node)
            part.recompile()
