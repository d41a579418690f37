"""What the quality metrics count: x bad events of n, from a confusion matrix.

Every metric is turned into a rate of errors, so that "theta_test <= a + b*theta_stable" reads the same for
all: more is worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from evaluator.statistics.counts import checked_counts


class BadOf(NamedTuple):
    """x bad events of n."""

    n: int
    x: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Labels of one class against the rest: counts >= 0."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @classmethod
    def of(cls, matrix: Sequence[Sequence[int]], positive: int) -> Self:
        """Return the counts of class `positive` against the rest.

        matrix: [predicted][actual], square. Raises ValueError for other shapes, bad counts, or a class out of
        range.
        """
        counts = checked_counts("matrix", matrix)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"a confusion matrix must be square, got {counts.shape}")
        if not 0 <= positive < len(counts):
            raise ValueError(f"class {positive} is not one of the matrix's {len(counts)}")
        both = int(counts[positive, positive])
        predicted, actual = int(counts[positive].sum()), int(counts[:, positive].sum())
        return cls(both, predicted - both, actual - both, int(counts.sum()) - predicted - actual + both)


def wrong(matrix: Sequence[Sequence[int]]) -> BadOf:
    """Return wrong answers of all labels: 1 - accuracy. matrix: [predicted][actual]."""
    counts = checked_counts("matrix", matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"a confusion matrix must be square, got {counts.shape}")
    total = int(counts.sum())
    return BadOf(total, total - int(np.trace(counts)))


def imprecision(counts: Confusion) -> BadOf:
    """Return false of all positives predicted: 1 - precision."""
    return BadOf(counts.true_positive + counts.false_positive, counts.false_positive)


def missed(counts: Confusion) -> BadOf:
    """Return missed of all actual positives: 1 - recall."""
    return BadOf(counts.true_positive + counts.false_negative, counts.false_negative)


def false_alarms(counts: Confusion) -> BadOf:
    """Return false positives of all actual negatives: the false-positive rate."""
    return BadOf(counts.false_positive + counts.true_negative, counts.false_positive)


def unlike(counts: Confusion) -> BadOf:
    """Return 1 - J, J = TP/(TP+FP+FN) the Jaccard index: a rate, which F1 is not, and F1 = 2J/(1+J) rises with it."""
    bad = counts.false_positive + counts.false_negative
    return BadOf(counts.true_positive + bad, bad)


def f1_from_unlike(rate: float) -> float:
    """Return F1 for a rate 1 - J in [0, 1]."""
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a rate must lie in [0, 1], got {rate}")
    return 2.0 * (1.0 - rate) / (2.0 - rate)


def unlike_from_f1(f1: float) -> float:
    """Return the rate 1 - J for an F1 in [0, 1]."""
    if not 0.0 <= f1 <= 1.0:
        raise ValueError(f"F1 must lie in [0, 1], got {f1}")
    return 2.0 * (1.0 - f1) / (2.0 - f1)


def unlike_margin(f1_margin: float, f1_stable: float) -> float:
    """Return the margin in 1 - J that a margin in F1 stands for at the stable version's F1.

    It is 2*delta/((2-F1)*(2-F1+delta)), of which 2*delta/(2-F1)^2 is the tangent; negative where the test version must
    be better by as much. An F1 of 0 is the worst and one of 1 the best there is. To be fixed from history before the
    test: read from the test's own data, the line would move with what is judged.
    """
    reached = min(max(f1_stable - f1_margin, 0.0), 1.0)
    return unlike_from_f1(reached) - unlike_from_f1(f1_stable)
