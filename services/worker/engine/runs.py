"""Batches through a program: begun, waited for, and in smaller ones where the device's memory is too small."""

from collections.abc import Sequence
from typing import Any, Protocol

from services.worker.engine.batcher import Batcher
from services.worker.engine.device_errors import is_lost, is_out_of_memory
from services.worker.engine.engine import EngineOutput
from services.worker.engine.room import Room
from services.worker.engine.stretches import Stretch, hand_out, joined, split
from services.worker.shared_memory.records import Outcome
from services.worker.shared_memory.tensors import Array


class Pending(Protocol):
    """A batch under way on a device that runs by itself."""

    def wait(self) -> EngineOutput:
        """What it gives, as soon as it does; valid until another batch begins."""


class Run(Protocol):
    """Runs one batch, or begins it: one array per input, [rows, ...], as they must be found again.

    At most two batches are under way at a time.
    """

    def __call__(self, inputs: Sequence[Array], /) -> EngineOutput | Pending: ...


class Failed:
    """A batch that could not begin."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def wait(self) -> EngineOutput:
        raise self._error


class Runs:
    """Runs batches.

    Args:
        run: the program.
        batcher: told of the largest batch that the memory is large enough for.
    """

    def __init__(self, run: Run, batcher: Batcher[Any]) -> None:
        self._run = run
        self._batcher = batcher
        self._room = Room(batcher.max_rows)

    def begin(self, where: Sequence[Stretch]) -> EngineOutput | Pending:
        """Begins a batch of these rows; what it raises shows in its outcome."""
        try:
            return self._run(joined(where))
        except Exception as error:  # noqa: BLE001 - a program may raise anything; its callers are told
            # What it was doing holds the memory that it did not get.
            error.__context__ = None
            return Failed(error.with_traceback(None))

    def outcome(self, begun: EngineOutput | Pending, where: Sequence[Stretch], rows: int) -> tuple[Outcome, bool, str]:
        """Waits for a batch and hands out what it gave: how it ended, whether all of it is finite, and what was said.

        Raises:
            torch.AcceleratorError: the device is lost, and this process has to end.
        """
        try:
            result = begun if isinstance(begun, EngineOutput) else begun.wait()
            _check(result.arrays, where[0].exchange.outputs, rows)
        except Exception as error:
            if is_lost(error):
                # The engine ends, and a new one begins with a device that answers.
                raise
            if not is_out_of_memory(error):
                return Outcome.RAISED, False, f"{type(error).__name__}: {str(error)[:300]}"
        else:
            hand_out(where, result)
            self._batcher.max_rows = self._room.ran(rows, self._batcher.max_rows)
            return Outcome.RAN, result.finite is None, ""
        # Only here has what failed let go of its memory.
        return self._in_halves(where, rows)

    def _in_halves(self, where: Sequence[Stretch], rows: int) -> tuple[Outcome, bool, str]:
        """Runs a batch that the device's memory is too small for in halves; batches stay that small for a while."""
        if rows == 1:
            return Outcome.EXHAUSTED, False, "the device's memory is too small for one row at present"
        self._batcher.max_rows = self._room.failed(rows, self._batcher.max_rows)
        parts = [self.outcome(self.begin(part), part, part_rows) for part, part_rows in split(where, rows // 2, rows)]
        worst = max(parts, key=lambda part: part[0])
        return worst[0], all(finite for _, finite, _ in parts), worst[2]


def _check(arrays: Sequence[Array], declared: Sequence[Array], rows: int) -> None:
    # What is too small would be spread over the others without a word, and a row over its own values.
    if any(len(array) != rows for array in arrays):
        raise ValueError(f"the program gave {[len(array) for array in arrays]} rows for {rows}")
    if [array.shape[1:] for array in arrays] != [array.shape[1:] for array in declared]:
        given, expected = ([list(array.shape[1:]) for array in those] for those in (arrays, declared))
        raise ValueError(f"the program gave rows of the shapes {given}, and its outputs' are {expected}")
