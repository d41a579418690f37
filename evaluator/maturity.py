"""When labels may be complete: how late they come, and whether they reach both arms alike."""

from itertools import accumulate
from typing import Final

from evaluator.label_rows import Lags
from services.common.policy.records import Gate, LabelMaturity, MetricKind
from services.common.telemetry.catalog import LAG_BOUNDS

USUAL_LABELS: Final = 0.99
"""Share of the labels that `usual_lag` covers."""
ENOUGH_LAGS: Final = 20


def usual_lag(lags: Lags) -> float:
    """Seconds within which nearly all labels have come, rounded up to a bound; 0: there are too few to tell.

    Labels that have not come yet are in none of the counts, so that early in a lane's life this is too little.
    """
    total = sum(lags)
    if total < ENOUGH_LAGS:
        return 0.0
    bucket = next(number for number, sofar in enumerate(accumulate(lags)) if sofar >= USUAL_LABELS * total)
    return LAG_BOUNDS[min(bucket, len(LAG_BOUNDS) - 1)]


def is_alike(coverage: tuple[float, float], maturity: LabelMaturity) -> bool:
    """Whether labels reach both arms alike; not where one of them has no predictions."""
    return abs(coverage[0] - coverage[1]) <= maturity.max_coverage_gap


def shows_young(gate: Gate, maturity: LabelMaturity) -> bool:
    """Whether labels of a slice that is not old enough yet may show harm.

    Not where a metric mixes classes, unless the policy says so: labels of one class often come first (a fraud is
    reported, and all else is known to be none when nothing was), and then a version that is better in the other class
    looks worse. Nor for how far rows were off, since large errors may be found out sooner. And not against a number,
    since labels of wrong answers may come first.
    """
    aged = {MetricKind.F1, MetricKind.ABSOLUTE_ERROR, MetricKind.VALUE, MetricKind.PAIRED_ACCURACY}
    if gate.limit is not None or gate.metric in aged:
        return False
    return gate.metric is not MetricKind.ACCURACY or maturity.judge_young
