"""When labels may be complete, and whether they reach both arms alike."""

import math
from typing import Final

from evaluator.window.labels import SliceCounts
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import DEFAULT_SAFE, Gate, LabelMaturity

MOST_LATE: Final = 0.02
"""Share of a version's labels that may come too late to be counted: wrong answers' are often the late ones."""

ANY_GAP: Final = 0.5
"""From this `max_coverage_gap` on nothing is asked of how labels reach classes or, up to it, arms."""


def is_alike(coverage: tuple[float, float], maturity: LabelMaturity) -> bool:
    """Whether labels reach both arms alike; not where one of them has no predictions."""
    return abs(coverage[0] - coverage[1]) <= maturity.max_coverage_gap


def is_apart(ratio: float, maturity: LabelMaturity) -> bool:
    """Whether one predicted class has labels so much seldomer than the others, or oftener, that it matters.

    It reaches both arms alike, so that it turns nothing round: what differs between the versions seems smaller by as
    much. So twice the gap is allowed that the arms may have, as a part of the higher coverage; at 0.5 all is.

    Args:
        ratio: of the coverages.
        maturity: how unlike they may be.
    """
    least = min(ratio, 1.0 / ratio) if ratio else 0.0
    return least < 1.0 - 2.0 * maturity.max_coverage_gap


def mixes(gate: Gate) -> bool:
    """Whether what the gate judges is of answers of several classes: precision alone is of answers of one."""
    return gate.metric in _MIXING


def is_misled(gate: Gate, name: str, moved: float) -> bool:
    """Whether a class that stands out by how many labels its answers get may mislead the gate.

    A false-positive rate is of answers with its class against all others. Accuracy is misled by no more than what the
    class has too many or too few of among the labels: a class that is hardly ever answered holds up nothing. Of recall
    and F1 even such a class may have all that was missed.

    Args:
        gate: what it watches.
        name: the class.
        moved: by how much its share among labelled answers differs from its share among all.
    """
    if not mixes(gate):
        return False
    if gate.metric is MetricKind.FALSE_POSITIVE_RATE and gate.positive != EACH_CLASS:
        return name == gate.positive
    if gate.metric is not MetricKind.ACCURACY:
        return True
    margin = (DEFAULT_SAFE[gate.metric] if gate.limit is not None else gate.safe).offset
    return moved > max(margin, _LEAST_MARGIN) / 2.0


def flattering(ratio: float, wrong: float) -> float:
    """By how much a version may seem better than it is, as a rate, where labels do not reach both arms alike.

    All that it lacks may be wrong answers. What stable lacks may be right ones, by which it seems worse by as large a
    part of what it has wrong.

    Args:
        ratio: how often the test arm's answers have labels, over how often stable's have.
        wrong: the larger share of wrong ones that either arm has.
    """
    return _lacking(ratio) if ratio < 1.0 else _lacking(ratio) * wrong


def blaming(ratio: float, wrong: float) -> float:
    """By how much it may seem worse than it is, likewise: stable may lack wrong answers, and the version right ones."""
    return _lacking(ratio) if ratio > 1.0 else _lacking(ratio) * wrong


def _lacking(ratio: float) -> float:
    """Share of the labels that the arm would have which has fewer, were it as the other."""
    return 1.0 - (min(ratio, 1.0 / ratio) if ratio else 0.0)


def may_mislead(gate: Gate, by: float, apart: float, *, harm: bool = False) -> bool:
    """Whether labels that do not reach both arms alike may mislead a gate by more than it can bear.

    They may by half of its margin. Where the versions are further apart, a harm (and that a version is better) shows
    all the same if they may by no more than half of what lies between them.

    Args:
        gate: what it watches.
        by: how much that is, as a rate.
        apart: by how much the versions differ, as far as is known.
        harm: it is harm that is to be shown.
    """
    if harm:
        return by > max(gate.harm.offset, apart, _LEAST_MARGIN) / 2.0
    if gate.better is not None:
        return by > max(apart, _LEAST_MARGIN) / 2.0
    return by > max(allowed_margin(gate), _LEAST_MARGIN) / 2.0


def allowed_margin(gate: Gate) -> float:
    """What a gate's labels may be off by before a version is worse by too much, as a rate."""
    if gate.limit is not None or not gate.safe.offset:
        return DEFAULT_SAFE[MetricKind.ACCURACY].offset
    return gate.safe.offset


def misleading(counted: SliceCounts) -> float:
    """By how much the labels that came may make the test version seem worse or better on mirrored rows, as a rate.

    Who labels a caller's answer has seen stable's alone. Where its wrong answers get labels later, or seldomer, than
    its right ones, rows on which the test version is wrong alone are among the labelled ones more often than those on
    which stable is: of versions alike by the share of rows on which they differ, times how much seldomer such rows have
    labels than rows on which they agree. That is known to within its standard error, which is added; and whatever the
    rows without labels are, they change no more than their own share.

    Args:
        counted: mirrored rows, some of them labelled.
    """
    noted, agreeing = counted.test_predictions, counted.agreeing
    differing, labelled = noted - agreeing, counted.test.rows
    if not labelled:
        return math.inf
    coverage = labelled / noted
    most = max(1.0 - coverage, 0.0) / coverage
    if not differing:
        return 0.0
    if not agreeing:
        return most
    share = differing / noted
    gap = counted.test.agreeing / agreeing - (labelled - counted.test.agreeing) / differing
    noise = math.sqrt(max(coverage * (1.0 - coverage), 0.0) * (1.0 / agreeing + 1.0 / differing))
    return min(share * (abs(gap) + noise) / coverage, most)


def unpaired(counted: SliceCounts) -> float:
    """The share of mirrored rows that has no pair: no copy was made of them, or the test version failed at it."""
    return max(1.0 - counted.test_predictions / counted.originals, 0.0) if counted.originals else 0.0


def may_hide(gate: Gate, without: float) -> bool:
    """Whether rows without a pair may hide so much from a gate on pairs that it matters.

    Which have none depends on what they are (too large), on when they come, and on the version, which may fail at those
    that it would get wrong. It may be wrong alone on all of them; half of the margin is allowed.

    Args:
        gate: what it watches.
        without: their share.
    """
    return gate.metric is MetricKind.PAIRED_ACCURACY and without > max(gate.safe.offset, _LEAST_MARGIN) / 2.0


def is_fair(counted: SliceCounts, margin: float, maturity: LabelMaturity) -> bool:
    """Whether labels of mirrored rows tell apart what they are to tell apart.

    They may mislead by half of the margin or, where the versions are further apart, by half of what lies between them.

    Args:
        counted: the rows of all slices that are taken.
        margin: as a rate.
        maturity: how many labels there must be.
    """
    labelled = counted.test.rows
    if not labelled >= maturity.min_coverage * counted.test_predictions > 0:
        return False
    apart = abs(counted.test.alone - counted.stable.alone) / labelled
    return misleading(counted) <= max(margin, apart, _LEAST_MARGIN) / 2.0


_LEAST_MARGIN: Final = 0.002
_MIXING: Final = frozenset({MetricKind.ACCURACY, MetricKind.RECALL, MetricKind.FALSE_POSITIVE_RATE, MetricKind.F1})


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
