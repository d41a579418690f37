"""How long a version's batches take, before it serves any: medians of a few, after a warm-up of the same size."""

import contextlib
import statistics
from collections.abc import Iterable
from typing import Final

import torch

from crossfade.manifest import Precision
from services.common.clock import Clock
from services.worker.engine.engine import Engine
from services.worker.engine.golden import GoldenCheck
from services.worker.engine.recording import Recorder

_HELPS: Final = 0.9
"""Where it is for the timing to say, mixed precision has to take so much of full precision's time, or less."""
_PAIRS: Final = 10
_MOST_PAIRS_LOST: Final = 1
"""On a CPU it has to do so in nearly all of so many runs in turns: a busy moment of the machine is no reason to answer
less exactly."""
_TIMED_RUNS: Final = 7
_TIMED_SECONDS: Final = 0.5
"""A size is timed for no longer than this, or once."""


class Timer:
    """Times golden rows.

    Args:
        engine: what runs them.
        check: the golden rows.
        recorder: records what runs by graphs.
        clock: measures.
    """

    def __init__(self, engine: Engine, check: GoldenCheck, recorder: Recorder, clock: Clock) -> None:
        self._engine = engine
        self._check = check
        self._recorder = recorder
        self._clock = clock

    def seconds(self, rows: int, precision: Precision) -> float:
        """Median runtime of a batch of `rows`.

        Raises:
            LoadError: the program raised.
            torch.OutOfMemoryError: the device's memory is too small.
        """
        self._once(rows, precision)
        taken: list[float] = []
        while len(taken) < _TIMED_RUNS and sum(taken) < _TIMED_SECONDS:
            taken.append(self._once(rows, precision))
        return statistics.median(taken)

    def served_seconds(self, rows: int, precision: Precision) -> float:
        """As `seconds`, of a batch as it would be served: by a graph, if there is to be and can be one."""
        self._recorder.record([rows], precision)
        try:
            return self.seconds(rows, precision)
        finally:
            self._recorder.forget()

    def helps(self, mixed: Precision, rows: int, full: float, less: float) -> bool:
        """Whether a batch takes clearly less time in mixed than in full precision.

        Args:
            mixed: the precision.
            rows: of the batch.
            full: median runtime in full precision, as measured before `less`.
            less: in mixed precision.
        """
        if self._engine.device.type == "cuda":
            # Measured on both sides, so that something else on the device is no reason to answer less exactly.
            with contextlib.suppress(torch.OutOfMemoryError):
                full = min(full, self.served_seconds(rows, Precision.FP32))
            return less <= _HELPS * full
        lost = 0
        for _ in range(_PAIRS):
            once, again = (self._once(rows, precision) for precision in (Precision.FP32, mixed))
            lost += again > _HELPS * once
        return lost <= _MOST_PAIRS_LOST

    def largest(self, sizes: Iterable[int], precision: Precision, seconds: float) -> int:
        """Warms up each size, ascending; answers the largest within `seconds`, or 1."""
        best = 1
        for rows in sizes:
            try:
                if self.seconds(rows, precision) > seconds:
                    break
            except torch.OutOfMemoryError:
                break
            best = rows
        return best

    def _once(self, rows: int, precision: Precision) -> float:
        # Anew for each run: a program may write to its inputs.
        inputs = self._check.inputs(0, rows)
        start = self._clock.monotonic()
        self._check.run(inputs, precision)
        return self._clock.monotonic() - start
