"""What a window says of each arm by the cohort of its requests' keys."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from evaluator.statistics.cohorts import CohortCounts
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import CALLERS_FAULTS, COHORT_ATTEMPTS, OK
from evaluator.window.labels import LabelPair
from services.common.telemetry.catalog import COHORTS


def cohort_attempts(counted: ArmCounts, epoch: int) -> CohortCounts:
    """Attempts of an epoch and failed ones, all processes together: a key's requests come by all of them."""
    table = np.zeros((4, COHORTS))
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(COHORT_ATTEMPTS):
            outcome = at.get("outcome", "")
            if outcome in CALLERS_FAULTS or at.get("epoch") != str(epoch) or len(one.counts) != COHORTS:
                continue
            first = 0 if is_test else 2
            if first == 2 and not is_stable:
                continue
            table[first] += one.counts
            if outcome != OK:
                table[first + 1] += one.counts
    return CohortCounts(*table)


def cohort_labels(pairs: Iterable[LabelPair]) -> CohortCounts:
    """Labels, or reported numbers, and the bad ones among them."""
    table = np.zeros((4, COHORTS))
    for pair in pairs:
        for first, labels in zip((0, 2), pair, strict=True):
            table[first + 1] += labels.bad_by or _NONE
            table[first] += labels.good_by or _NONE
            table[first] += labels.bad_by or _NONE
    return CohortCounts(*table)


_NONE: Final = (0,) * COHORTS
