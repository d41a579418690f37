"""Whether labels reach both arms alike.

Requests are drawn for the arms by chance, so that nothing but what was answered can make labels of one arm come
seldomer than those of the other. If those that are lacking are of wrong answers, a worse version looks better.
"""

import math
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Final, NamedTuple

from evaluator.evidence.ledger import Ledger
from evaluator.gates.maturity import blaming, flattering, may_mislead
from evaluator.statistics.cohorts import CohortCounts, enough
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.selection import Stratum, selection
from evaluator.window.arms import SliceKey
from evaluator.window.cohort_rows import cohort_labels
from evaluator.window.labels import SliceCounts
from services.common.policy.metrics import LABEL_METRICS, MetricKind
from services.common.policy.records import Gate

_BEYOND_CHANCE: Final = 3.0
"""Standard errors, by one look: of versions alike one of a thousand looks finds it, and if that is a period's last one,
an hour is lost. Evidence that is valid at every look would come too late, since a version may pass by a few hundred
labels."""
_FEW: Final = 5.0
"""Labels that an arm lacks beyond its expectation: fewer are none to speak of, and too few to know their chance."""


class Reach(NamedTuple):
    """How labels reach the answers of both arms, slice by slice.

    Attributes:
        ratio: how often the test arm's answers have labels, over how often stable's have; 1: alike, or not known.
        wrong: shares of both arms' labelled rows that were predicted wrong.
        unlike: it is beyond chance.
    """

    ratio: float = 1.0
    wrong: tuple[float, float] = (0.0, 0.0)
    unlike: bool = False

    def flatters(self, gate: Gate) -> bool:
        """Whether what lacks a label may make the version seem so much better to the gate that it matters."""
        return self.unlike and may_mislead(gate, flattering(self.ratio, self._worst(gate)), self._apart(gate))

    def blames(self, gate: Gate) -> bool:
        """Whether it may make the version seem so much worse. Only accuracy's harm waits for it."""
        blamed = gate.metric is MetricKind.ACCURACY and self.unlike
        return blamed and may_mislead(gate, blaming(self.ratio, self._worst(gate)), self._apart(gate), harm=True)

    def _worst(self, gate: Gate) -> float:
        """The largest share of bad rows that is known; of other metrics than accuracy it is not."""
        return max(self.wrong) if gate.metric is MetricKind.ACCURACY else 1.0

    def _apart(self, gate: Gate) -> float:
        return abs(self.wrong[0] - self.wrong[1]) if gate.metric is MetricKind.ACCURACY else 0.0


ALIKE: Final = Reach()


def reach(ledger: Ledger, keys: Iterable[SliceKey], effect: float) -> Reach:
    """How labels reach both arms in those slices.

    Args:
        ledger: of labels, or of values.
        keys: slices that are old enough.
        effect: rows of a request that may get their labels together.
    """
    # Of a slice with more labels than predictions some process could not be read: what it predicted is not known.
    slices = [one for one in map(ledger.slices.__getitem__, keys) if _is_whole(one)]
    strata = [Stratum(one.test_predictions, one.stable_predictions, one.test.rows, one.stable.rows) for one in slices]
    seen = selection(strata, effect)
    wrong = [
        (sum(labels.wrong for labels in arm), sum(labels.rows for labels in arm))
        for arm in ([one.test for one in slices], [one.stable for one in slices])
    ]
    test, stable = (x / n if n else 0.0 for x, n in wrong)
    lacking = seen.moved * sum(n for _, n in wrong)
    return Reach(seen.ratio, (test, stable), seen.errors >= _BEYOND_CHANCE and lacking >= _FEW)


def reach_by_key(ledger: Ledger, keys: Iterable[SliceKey], asked: Mapping[SliceKey, CohortCounts]) -> Reach:
    """How labels reach both arms where requests are assigned by key: users label as they like, each in one arm.

    What differs for that alone is known by how cohorts of keys differ in it.

    Args:
        ledger: of labels.
        keys: slices that are old enough, of one split.
        asked: attempts of that split by slice, of which those that did not fail were answered.
    """
    whole = [key for key in keys if _is_whole(ledger.slices[key]) and key in asked]
    if not whole:
        return ALIKE
    slices = [ledger.slices[key] for key in whole]
    attempts = reduce(CohortCounts.plus, (asked[key] for key in whole))
    arms = [
        ([one.test for one in slices], sum(one.test_predictions for one in slices)),
        ([one.stable for one in slices], sum(one.stable_predictions for one in slices)),
    ]
    answered = attempts.n_test_by - attempts.x_test_by, attempts.n_stable_by - attempts.x_stable_by
    rows = [sum(one.rows for one in labels) for labels, _ in arms]
    if not (all(rows) and all(map(enough, answered))):
        return ALIKE
    labelled = cohort_labels(zip(*(labels for labels, _ in arms), strict=True))
    by_cohort = labelled.n_test_by, labelled.n_stable_by
    variance = sum(map(_variation, by_cohort, answered))
    ratio = (rows[0] / arms[0][1]) / (rows[1] / arms[1][1])
    lacking = abs(ratio - 1.0) * min(rows) / max(ratio, 1.0)
    unlike = abs(math.log(ratio)) >= _BEYOND_CHANCE * math.sqrt(variance) and lacking >= _FEW
    wrong = [sum(one.wrong for one in labels) / n for (labels, _), n in zip(arms, rows, strict=True)]
    return Reach(ratio, (wrong[0], wrong[1]), unlike)


def _variation(labels: FloatArray, answered: FloatArray) -> float:
    """The variance of labels for an answer by how cohorts vary, relative to their square; infinite: it is not known."""
    total, used = float(labels.sum()), int((answered > 0).sum())
    if not total:
        return math.inf
    off = labels - answered * total / answered.sum()
    return float((off * off).sum()) * used / (used - 1) / total**2


def _is_whole(one: SliceCounts) -> bool:
    return one.test.rows <= one.test_predictions and one.stable.rows <= one.stable_predictions


def label_gates(gates: Iterable[Gate], segment: str = "", *, values: bool = False) -> tuple[Gate, ...]:
    """The gates that are judged by labels of callers in a segment or of all, or by reported values."""
    return tuple(
        gate
        for gate in gates
        if gate.metric in LABEL_METRICS and gate.segment == segment and (gate.metric is MetricKind.VALUE) is values
    )
