"""What a window says of callers in a segment that a gate watches by itself."""

from evaluator.terms import Terms
from evaluator.window.arms import CALLER_ATTEMPTS, CALLERS_FAULTS, OK, is_stable, is_test, series_of
from evaluator.window.counts import Counts
from evaluator.window.labels import RateRow


def caller_rows(window: Counts, terms: Terms, epoch: int | None, caller: str) -> list[RateRow]:
    """Attempts and failed ones, a row per process; epoch None: of stable alone, in whatever epoch."""
    rows = []
    for instance in window:
        counts = {True: [0, 0], False: [0, 0]}
        for one, at in series_of(instance, CALLER_ATTEMPTS):
            outcome, test = at.get("outcome", ""), is_test(at, terms)
            other_epoch = epoch is not None and at.get("epoch") != str(epoch)
            if at.get("caller") != caller or outcome in CALLERS_FAULTS or other_epoch:
                continue
            if (epoch is None and test) or not (test or is_stable(at, terms)):
                continue
            n = sum(one.counts)
            counts[test][0] += n
            counts[test][1] += 0 if outcome == OK else n
        if counts[True][0] or counts[False][0]:
            rows.append((counts[True][0], counts[True][1], counts[False][0], counts[False][1]))
    return rows
