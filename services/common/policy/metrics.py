"""What gates watch, and what is said of it: which metrics are of labels, of classes, of pairs, of callers."""

from enum import StrEnum
from typing import Final


class MetricKind(StrEnum):
    """What a gate watches."""

    ERRORS = "errors"
    RUNTIME = "runtime"
    ACCURACY = "accuracy"
    INPUT_DRIFT = "input_drift"
    PRECISION = "precision"
    RECALL = "recall"
    FALSE_POSITIVE_RATE = "false_positive_rate"
    F1 = "f1"
    CLASS_BALANCE = "class_balance"
    DISAGREEMENT = "disagreement"
    ABSOLUTE_ERROR = "absolute_error"
    VALUE = "value"
    CUSTOM = "custom"
    PAIRED_ACCURACY = "paired_accuracy"


CLASS_METRICS: Final = frozenset(
    {MetricKind.PRECISION, MetricKind.RECALL, MetricKind.FALSE_POSITIVE_RATE, MetricKind.F1}
)
"""What is said of one class against the rest."""
EACH_CLASS: Final = "*"
"""As a gate's positive class: every class, each against the rest."""
LABEL_METRICS: Final = CLASS_METRICS | {MetricKind.ACCURACY, MetricKind.ABSOLUTE_ERROR, MetricKind.VALUE}
"""What is judged by labels, or by numbers that come as late as they do."""
BUCKET_METRICS: Final = frozenset({MetricKind.RUNTIME, MetricKind.ABSOLUTE_ERROR})
"""What is judged by its distribution over geometric buckets, in which its margins are given."""
PAIRED_METRICS: Final = frozenset({MetricKind.DISAGREEMENT, MetricKind.PAIRED_ACCURACY})
"""What is said of both versions' answers to one request, of which SHADOW steps have pairs."""
QUALITY_METRICS: Final = LABEL_METRICS | PAIRED_METRICS | {MetricKind.CLASS_BALANCE}
"""What rests while the inputs are drifted: all that the answers say."""

SEGMENT_METRICS: Final = frozenset({MetricKind.ERRORS, MetricKind.ACCURACY})
"""What is counted by the caller's segment."""

MORE_IS_BETTER: Final = LABEL_METRICS - {MetricKind.FALSE_POSITIVE_RATE, MetricKind.ABSOLUTE_ERROR}
"""What people say the share of what was right of."""


def shown_in(metric: MetricKind, *, shadow: bool) -> bool:
    """Whether a step can show it: copies' answers reach nobody, who could label or count them, and only copies
    come in pairs.
    """
    return metric not in LABEL_METRICS | {MetricKind.CUSTOM} if shadow else metric not in PAIRED_METRICS


def judged_by_key(metric: MetricKind, above: float = 0.0, segment: str = "") -> bool:
    """Whether a gate can be judged where requests are assigned by key: only these are counted by cohorts of keys.

    Args:
        metric: what it watches.
        above: its bound, for reported values: by cohorts only those above 0 are counted.
        segment: of the callers that it watches; empty: all, who alone are counted by cohorts.
    """
    judged = metric in SEGMENT_METRICS or (metric is MetricKind.VALUE and above == 0.0)
    return judged and not segment
