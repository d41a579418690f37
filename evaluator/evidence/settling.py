"""How long counts settle after a change of share: fast failures are counted before slow answers that began as early."""

from typing import Final

import numpy as np

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import ATTEMPTS, CALLERS_FAULTS, added
from services.common.telemetry import catalog

BOUNDS: Final = catalog.ATTEMPT_DURATION.bounds
NO_DURATIONS: Final = (0,) * (len(BOUNDS) + 1)
"""Stable's attempts by duration before the first look."""
_SLOWEST: Final = 0.999
_TIMES: Final = 2.0
_OPEN: Final = 5.0 * BOUNDS[-1]
"""Seconds that an attempt beyond the last bound is taken to last: nobody counts how long, and few wait longer."""


def durations(counted: ArmCounts) -> tuple[int, ...]:
    """Stable's attempts of a window by duration, of whatever split, without those that say nothing of a version."""
    total = NO_DURATIONS
    for process in counted.processes:
        for one, at, _, is_stable in process.of(ATTEMPTS):
            if is_stable and at.get("outcome", "") not in CALLERS_FAULTS and len(one.counts) == len(total):
                total = added(total, one.counts)
    return total


def settling(asked: float, counted: tuple[int, ...], period: float) -> float:
    """Seconds after a change of share for which counts are recorded and not judged.

    Twice as long as all but one of a thousand of stable's attempts took, and as the policy asks for at least. It is no
    more than half of the step's period, of which nothing would be judged otherwise. What it rests on was recorded, so
    that it is the same whoever looks.

    Args:
        asked: the policy's.
        counted: stable's attempts so far by duration.
        period: of the step, in seconds.
    """
    cumulative = np.cumsum(np.array(counted, dtype=np.float64))
    if not cumulative[-1] > 0:
        return asked
    bucket = int(np.argmax(cumulative >= _SLOWEST * cumulative[-1]))
    slowest = BOUNDS[bucket] if bucket < len(BOUNDS) else _OPEN
    return max(asked, min(_TIMES * slowest, period / 2.0))
