"""What a window says of callers in a segment that a gate watches by itself."""

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import CALLER_ATTEMPTS, CALLERS_FAULTS, OK
from evaluator.window.labels import RateRow


def caller_rows(counted: ArmCounts, epoch: int | None, caller: str) -> list[RateRow]:
    """Attempts and failed ones, a row per process; epoch None: of stable alone, in whatever epoch."""
    rows = []
    for process in counted.processes:
        counts = {True: [0, 0], False: [0, 0]}
        for one, at, is_test, is_stable in process.of(CALLER_ATTEMPTS):
            outcome = at.get("outcome", "")
            other_epoch = epoch is not None and at.get("epoch") != str(epoch)
            if at.get("caller") != caller or outcome in CALLERS_FAULTS or other_epoch:
                continue
            if (epoch is None and is_test) or not (is_test or is_stable):
                continue
            n = sum(one.counts)
            counts[is_test][0] += n
            counts[is_test][1] += 0 if outcome == OK else n
        if counts[True][0] or counts[False][0]:
            rows.append((counts[True][0], counts[True][1], counts[False][0], counts[False][1]))
    return rows
