"""How long a version's batches take, before it serves any: medians of a few, after a warm-up of the same size."""

import statistics
from typing import Final

from crossfade.manifest import Precision
from services.common.clock import Clock
from services.worker.engine import Engine
from services.worker.golden import GoldenCheck
from services.worker.tensors import Array

HELPS: Final = 0.9
"""Where it is for the timing to say, mixed precision has to take so much of full precision's time, or less."""
_PAIRS: Final = 10
_MOST_PAIRS_LOST: Final = 1
"""On a CPU in nearly all of so many runs in turns: a busy moment of the machine is no reason to answer less exactly."""
_TIMED_RUNS: Final = 7
_TIMED_SECONDS: Final = 0.5
"""A size is timed for no longer than this, or once."""


class Timer:
    """Times golden rows.

    Args:
        engine: what runs them.
        check: the golden rows.
        clock: measures.
    """

    def __init__(self, engine: Engine, check: GoldenCheck, clock: Clock) -> None:
        self.engine = engine
        self._check = check
        self.clock = clock

    def seconds(self, rows: int, precision: Precision) -> float:
        """Median runtime of a batch of `rows`.

        Raises:
            LoadError: the program raised.
            torch.OutOfMemoryError: the device's memory is too small.
        """
        inputs = self._check.inputs(0, rows)
        self._check.run(inputs, precision)
        taken: list[float] = []
        while len(taken) < _TIMED_RUNS and sum(taken) < _TIMED_SECONDS:
            taken.append(self._once(inputs, precision))
        return statistics.median(taken)

    def served_seconds(self, rows: int, precision: Precision, *, graphs: bool) -> float:
        """As `seconds`, of a batch as it would be served: by a graph, if there are to be and can be `graphs`."""
        if not graphs:
            return self.seconds(rows, precision)
        try:
            self.engine.record([rows], precision)
        except Exception:  # noqa: BLE001 - whatever keeps a program from being recorded, it runs without
            self.engine.forget()
        try:
            return self.seconds(rows, precision)
        finally:
            self.engine.forget()

    def helps(self, mixed: Precision) -> bool:
        """Whether one row takes clearly less time in mixed than in full precision."""
        inputs, lost = self._check.inputs(0, 1), 0
        for _ in range(_PAIRS):
            full, less = (self._once(inputs, precision) for precision in (Precision.FP32, mixed))
            lost += less > HELPS * full
        return lost <= _MOST_PAIRS_LOST

    def _once(self, inputs: list[Array], precision: Precision) -> float:
        start = self.clock.monotonic()
        self._check.run(inputs, precision)
        return self.clock.monotonic() - start
