"""CUDA graphs of a version's batches: recorded where they can be, and proved by the golden outputs."""

from collections.abc import Sequence

import torch

from crossfade.manifest import Precision
from services.common.text import first_line
from services.worker.domain import LoadError
from services.worker.engine.cuda import UNDER_WAY
from services.worker.engine.engine import Engine
from services.worker.engine.golden import GoldenCheck


class Recorder:
    """Records an engine's program, unless that is not wanted or has failed before.

    A program that cannot be recorded is not tried again: torch's allocator takes a recording that failed for one that
    goes on (pytorch/pytorch#180395), and each one more makes that worse.

    Args:
        engine: runs the program.
        check: its golden rows.
        wanted: there are to be graphs.
    """

    def __init__(self, engine: Engine, check: GoldenCheck, *, wanted: bool) -> None:
        self._engine = engine
        self._check = check
        self._wanted = wanted
        self._given_up = False
        self._why = ""

    def record(self, sizes: Sequence[int], precision: Precision) -> bool:
        """Whether from here on batches of these sizes have graphs in that precision; earlier graphs are let go."""
        if not self._wanted or self._given_up:
            return False
        try:
            self._engine.record(sizes, precision)
        except Exception as failure:  # noqa: BLE001 - whatever keeps a program from being recorded, it runs without
            self._engine.forget()
            # A recording that has failed ends with an error of its own, and the program's is what led to it.
            self._why = first_line(failure.__context__ or failure)[:200]
            # With less to hold, there may be room.
            self._given_up = not isinstance(failure, torch.OutOfMemoryError)
            return False
        return True

    def forget(self) -> None:
        """Lets go of what was recorded."""
        if self._wanted:
            self._engine.forget()

    def settle(self, sizes: Sequence[int]) -> str:
        """Records batches of these sizes for good; says what came of it, as the end of a sentence."""
        if not self._wanted:
            return ""
        if not self.record(sizes, self._engine.precision):
            return f"; without CUDA graphs, since {self._why}"
        # Each size has a graph for each of the batches that may be under way, and these take turns.
        proved = [size for size in sizes for _ in range(UNDER_WAY)]
        try:
            error, rows = self._check.worst_batch(proved, self._engine.precision)
        except (LoadError, torch.OutOfMemoryError) as failure:
            self.forget()
            return f"; without CUDA graphs, since {first_line(failure)[:200]}"
        if not error <= 1:
            self.forget()
            return f"; without CUDA graphs, since {self._check.complaint(self._engine.precision, error, rows)}"
        return f"; with CUDA graphs of up to {max(sizes)} rows"
