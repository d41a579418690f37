"""Labels of a slice in both arms, and what each quality metric counts of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, NamedTuple

from evaluator.statistics.confusion import BadOf, Confusion, false_alarms, imprecision, missed, unlike
from services.common.policy.records import MetricKind
from services.common.telemetry import catalog

ERROR_BUCKETS: Final = len(catalog.FEEDBACK_ERROR.bounds) + 1
"""Buckets of crossfade.feedback.error."""
VALUE_BUCKETS: Final = len(catalog.FEEDBACK_VALUE.bounds) + 1
"""Buckets of crossfade.feedback.value."""

RateRow = tuple[int, int, int, int]
"""n and x of the test arm, n and x of the stable arm."""


class OfClass(NamedTuple):
    """Labelled rows that were predicted as a class, that are of it, and that are both."""

    predicted: int = 0
    actual: int = 0
    both: int = 0


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled rows of one arm.

    Attributes:
        rows: all of them.
        wrong: those that were predicted wrong.
        classes: of each class that gates watch, in the order of `Terms.classes`; empty: none is counted yet.
        errors: rows by their absolute error (of a regression), or by the number that was reported for them, in the
            buckets of crossfade.feedback.error or crossfade.feedback.value; empty: none.
        good_by: under KEY assignment, right rows (or numbers above 0) by the cohort of their key; empty: none.
        bad_by: all others, likewise.
        callers: rows and wrong ones of each segment of callers that gates watch, in the order of `Terms.callers`;
            empty: none is counted yet.
        alone: of mirrored rows, those among `wrong` on which the other version was right.
    """

    rows: int = 0
    wrong: int = 0
    classes: tuple[OfClass, ...] = ()
    errors: tuple[int, ...] = ()
    good_by: tuple[int, ...] = ()
    bad_by: tuple[int, ...] = ()
    alone: int = 0
    callers: tuple[tuple[int, int], ...] = ()

    def plus(self, other: "Labels") -> "Labels":
        """The sum of both."""
        return self._with(other, 1)

    def beyond(self, taken: "Labels") -> "Labels":
        """What was counted since `taken`."""
        return self._with(taken, -1)

    def _with(self, other: "Labels", sign: int) -> "Labels":
        pairs = zip_longest(self.classes, other.classes, fillvalue=OfClass())
        classes = tuple(OfClass(*(a + sign * b for a, b in zip(*pair, strict=True))) for pair in pairs)
        errors, good_by, bad_by = (
            tuple(a + sign * b for a, b in zip_longest(one, another, fillvalue=0)) if one or another else ()
            for one, another in (
                (self.errors, other.errors),
                (self.good_by, other.good_by),
                (self.bad_by, other.bad_by),
            )
        )
        callers = tuple(
            (one[0] + sign * another[0], one[1] + sign * another[1])
            for one, another in zip_longest(self.callers, other.callers, fillvalue=(0, 0))
        )
        rows, wrong = self.rows + sign * other.rows, self.wrong + sign * other.wrong
        return Labels(rows, wrong, classes, errors, good_by, bad_by, self.alone + sign * other.alone, callers)

    def bad(self, metric: MetricKind, place: int) -> BadOf:
        """What a metric counts.

        Args:
            metric: one that is judged by labels.
            place: of the gate's class among `classes`, or the number of the bound that a good row's number is above.
        """
        if metric is MetricKind.VALUE:
            return BadOf(self.rows, sum(self.errors[: place + 1]))
        if metric is MetricKind.ABSOLUTE_ERROR:
            return BadOf(self.rows, 0)
        if self.errors:
            # Numbers are off by so much, and neither right nor wrong.
            return BadOf(0, 0)
        if metric is MetricKind.ACCURACY:
            return BadOf(self.rows, self.wrong)
        of = self.classes[place] if self.classes else OfClass()
        false_positive, false_negative = of.predicted - of.both, of.actual - of.both
        counts = Confusion(of.both, false_positive, false_negative, self.rows - of.predicted - of.actual + of.both)
        match metric:
            case MetricKind.PRECISION:
                return imprecision(counts)
            case MetricKind.RECALL:
                return missed(counts)
            case MetricKind.FALSE_POSITIVE_RATE:
                return false_alarms(counts)
            case MetricKind.F1:
                return unlike(counts)
            case _:
                raise ValueError(f"{metric} is not judged by labels")


LabelPair = tuple[Labels, Labels]
"""Labels of the test arm and of the stable arm."""


@dataclass(frozen=True, slots=True)
class SliceCounts:
    """Predicted and labelled rows of one slice, in both arms."""

    test_predictions: int = 0
    stable_predictions: int = 0
    test: Labels = Labels()
    stable: Labels = Labels()

    def plus(self, other: "SliceCounts") -> "SliceCounts":
        """The sum of both."""
        return SliceCounts(
            self.test_predictions + other.test_predictions,
            self.stable_predictions + other.stable_predictions,
            self.test.plus(other.test),
            self.stable.plus(other.stable),
        )


def error_distributions(pairs: Iterable[LabelPair]) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """What a gate on absolute errors takes of labels: one row per pair that has any, all under the number 1."""
    nothing = (0,) * ERROR_BUCKETS
    return [
        (1, test.errors or nothing, stable.errors or nothing) for test, stable in pairs if test.errors or stable.errors
    ]


def caller_label_rows(pairs: Iterable[LabelPair], place: int) -> list[RateRow]:
    """Labelled rows of callers in a segment, and the wrong ones among them.

    Args:
        pairs: of slices.
        place: of the segment among `Labels.callers`.
    """
    found = ((test.callers or _NO_CALLERS, stable.callers or _NO_CALLERS) for test, stable in pairs)
    rows = [(*_at(test, place), *_at(stable, place)) for test, stable in found]
    return [row for row in rows if row[0] or row[2]]


_NO_CALLERS: Final[tuple[tuple[int, int], ...]] = ()


def _at(callers: tuple[tuple[int, int], ...], place: int) -> tuple[int, int]:
    return callers[place] if callers else (0, 0)


def label_rows(pairs: Iterable[LabelPair], metric: MetricKind, place: int) -> list[RateRow]:
    """What a gate's tests take of labels; the arguments are those of `Labels.bad`."""
    return [(*test.bad(metric, place), *stable.bad(metric, place)) for test, stable in pairs]
