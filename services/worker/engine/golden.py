"""A version's answers beside those that it gave when it was packaged."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from crossfade.artifact import AnsweredRows
from crossfade.manifest import Manifest, Precision, Tolerance
from crossfade.tensor_spec import Signature
from services.common.text import listed
from services.worker.domain import FailureCode, LoadError
from services.worker.engine.device_errors import is_out_of_memory
from services.worker.engine.engine import Engine, EngineOutput
from services.worker.shared_memory.tensors import Array, to_numbers, to_stored

SINGLE_ROWS: Final = 8
"""Golden rows that are also run one by one."""


class GoldenCheck:
    """The golden rows of one artifact, run by an engine.

    Attributes:
        rows: how many there are.

    Raises:
        LoadError: VERIFY_FAILED, the golden outputs hold NaN or infinities.
    """

    def __init__(self, engine: Engine, golden: AnsweredRows, manifest: Manifest) -> None:
        signature: Signature = manifest.signature
        self._engine = engine
        self._signature = signature
        self._tolerance: Tolerance = manifest.tolerance
        self.rows = golden.count
        self._inputs: list[Array] = [to_stored(spec.dtype, golden.inputs[spec.name]) for spec in signature.inputs]
        self._expected = [golden.outputs[spec.name].astype(np.float64) for spec in signature.outputs]
        if not all(np.isfinite(expected).all() for expected in self._expected):
            raise LoadError("its golden outputs hold NaN or infinities", FailureCode.VERIFY_FAILED)

    def inputs(self, start: int, stop: int) -> list[Array]:
        """Golden rows, one array per input; `stop` may lie beyond the last row, which then are repeated."""
        index = np.arange(start, stop) % self.rows
        return [array[index] for array in self._inputs]

    def run(self, inputs: list[Array], precision: Precision) -> EngineOutput:
        """Runs rows.

        Raises:
            LoadError: VERIFY_FAILED, the program raised, or its answers are not shaped as the signature says.
            torch.OutOfMemoryError: the device's memory is too small.
            torch.AcceleratorError: the device failed.
        """
        rows = len(inputs[0])
        try:
            output = self._engine.run(inputs, precision)
        except Exception as error:
            if is_out_of_memory(error):
                raise torch.OutOfMemoryError(str(error)) from error
            if isinstance(error, torch.AcceleratorError):
                raise
            raise LoadError(
                f"the program raised {type(error).__name__} on {rows} golden rows in {precision}: {error}",
                FailureCode.VERIFY_FAILED,
            ) from error
        for array, spec in zip(output.arrays, self._signature.outputs, strict=True):
            if array.shape != (rows, *spec.shape[1:]):
                raise LoadError(
                    f"output {spec.name!r} has the shape {list(array.shape)} for {rows} rows, "
                    f"its signature says {list(spec.shape)}",
                    FailureCode.VERIFY_FAILED,
                )
        return output

    def within(self, bounds: Sequence[int]) -> tuple[int, ...]:
        """The bounds of the inputs' numbers, without those that golden rows are beyond: the program answers these."""
        fit: list[int] = []
        for array, bound in zip(self._inputs, bounds, strict=True):
            fits = bound and (not array.size or (array.min() >= 0 and array.max() < bound))
            fit.append(bound if fits else 0)
        return tuple(fit)

    def error(self, precision: Precision, limit: int) -> float:
        """Largest difference from the golden outputs over the tolerance, in batches of `limit` and one by one."""
        worst = 0.0
        spans = [(start, min(start + limit, self.rows)) for start in range(0, self.rows, limit)]
        spans += [(row, row + 1) for row in range(min(SINGLE_ROWS, self.rows))]
        for start, stop in spans:
            error = self.error_of(start, stop, precision)
            if np.isnan(error):
                return error
            worst = max(worst, error)
        return worst

    def error_of(self, start: int, stop: int, precision: Precision) -> float:
        """The same of the golden rows from `start` to `stop` as one batch; beyond the last row they are repeated."""
        output = self.run(self.inputs(start, stop), precision)
        if output.finite is not None:
            return float("nan")
        index, worst = np.arange(start, stop) % self.rows, 0.0
        for array, spec, expected in zip(output.arrays, self._signature.outputs, self._expected, strict=True):
            wanted = expected[index]
            difference = np.abs(to_numbers(spec.dtype, array) - wanted)
            allowed = self._tolerance.for_output(spec.name) + self._tolerance.rtol * np.abs(wanted)
            # No difference is right even where none is allowed.
            ratio = np.divide(difference, allowed, out=np.where(difference > 0, np.inf, 0.0), where=allowed > 0)
            worst = max(worst, float(ratio.max(initial=0.0)))
        return worst

    def worst_batch(self, sizes: Sequence[int], precision: Precision) -> tuple[float, int]:
        """The same of one batch of each size, of the worst of them: NaN before any number; and its rows."""
        errors = [self.error_of(0, size, precision) for size in sizes]
        worst = int(np.argmax(errors))
        return errors[worst], sizes[worst]

    def complaint(self, precision: Precision, error: float, rows: int = 0) -> str:
        """What is wrong with the answers, as a sentence; `rows`: of the batch that showed it, where that is told."""
        where, comma = (f"{precision}, in a batch of {rows}", ",") if rows else (f"{precision}", "")
        if np.isnan(error):
            return f"its answers to the golden inputs hold NaN or infinities in {where}"
        return (
            f"its answers to the golden inputs differ in {where}{comma} by {error:.3g} times the tolerance "
            f"(rtol {self._tolerance.rtol:g}, atol {self._tolerance.atol:g}{self._others()})"
        )

    def _others(self) -> str:
        """The atol of the outputs that have one of their own, as a sentence part."""
        others = [f"{name}'s {atol:g}" for name, atol in (self._tolerance.atol_of or {}).items()]
        return f"; {listed(others)}" if others else ""
