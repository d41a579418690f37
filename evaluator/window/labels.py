"""Labels of a slice in both arms, and what each quality metric counts of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import starmap, zip_longest
from operator import add, sub
from typing import Final, NamedTuple

from evaluator.statistics.confusion import BadOf, Confusion, false_alarms, imprecision, missed, unlike
from evaluator.window.arms import SliceKey
from services.common.policy.metrics import MetricKind
from services.common.telemetry import catalog

ERROR_BUCKETS: Final = len(catalog.FEEDBACK_ERROR.bounds) + 1
"""Buckets of crossfade.feedback.error."""
VALUE_BUCKETS: Final = len(catalog.FEEDBACK_VALUE.bounds) + 1
"""Buckets of crossfade.feedback.value."""

Change = Callable[[int, int], int]
"""What becomes of two counts: `add` or `sub`."""
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
        alone: of mirrored rows, those among `wrong` on which the other version was right.
        agreeing: of mirrored rows, those on which both versions answered the same.
    """

    rows: int = 0
    wrong: int = 0
    classes: tuple[OfClass, ...] = ()
    errors: tuple[int, ...] = ()
    good_by: tuple[int, ...] = ()
    bad_by: tuple[int, ...] = ()
    alone: int = 0
    agreeing: int = 0

    def plus(self, other: "Labels") -> "Labels":
        """The sum of both."""
        # What one series says is of one arm of its slice, so that most sums are with nothing.
        if other is NO_LABELS or self is NO_LABELS:
            return self if other is NO_LABELS else other
        return self._with(other, add)

    def beyond(self, taken: "Labels") -> "Labels":
        """What was counted since `taken`."""
        return self if taken is NO_LABELS else self._with(taken, sub)

    def _with(self, other: "Labels", change: Change) -> "Labels":
        pairs = zip_longest(self.classes, other.classes, fillvalue=OfClass())
        return Labels(
            change(self.rows, other.rows),
            change(self.wrong, other.wrong),
            tuple(OfClass(*map(change, *pair)) for pair in pairs),
            _with(self.errors, other.errors, change),
            _with(self.good_by, other.good_by, change),
            _with(self.bad_by, other.bad_by, change),
            change(self.alone, other.alone),
            change(self.agreeing, other.agreeing),
        )

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


def _with(one: tuple[int, ...], other: tuple[int, ...], change: Change) -> tuple[int, ...]:
    # Most have neither: a look adds up hundreds of labels' counts.
    if not other:
        return one
    return tuple(starmap(change, zip_longest(one, other, fillvalue=0)))


NO_LABELS: Final = Labels()
LabelPair = tuple[Labels, Labels]
"""Labels of the test arm and of the stable arm."""


@dataclass(frozen=True, slots=True)
class SliceCounts:
    """Predicted and labelled rows of one slice, in both arms; of mirrored rows those that agree, too.

    Of a SHADOW step `originals` are the rows that stable's control process answered, whether or not they have a pair.
    """

    test_predictions: int = 0
    stable_predictions: int = 0
    test: Labels = NO_LABELS
    stable: Labels = NO_LABELS
    agreeing: int = 0
    originals: int = 0

    def plus(self, other: "SliceCounts") -> "SliceCounts":
        """The sum of both."""
        return SliceCounts(
            self.test_predictions + other.test_predictions,
            self.stable_predictions + other.stable_predictions,
            self.test.plus(other.test),
            self.stable.plus(other.stable),
            self.agreeing + other.agreeing,
            self.originals + other.originals,
        )


def add_slice(slices: dict[SliceKey, SliceCounts], key: SliceKey, more: SliceCounts) -> None:
    """Adds what was counted of a slice to what is known of it."""
    known = slices.get(key)
    slices[key] = more if known is None else known.plus(more)


def error_distributions(pairs: Iterable[LabelPair]) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """What a gate on absolute errors takes of labels: one row per pair that has any, all under the number 1."""
    nothing = (0,) * ERROR_BUCKETS
    return [
        (1, test.errors or nothing, stable.errors or nothing) for test, stable in pairs if test.errors or stable.errors
    ]


def label_rows(pairs: Iterable[LabelPair], metric: MetricKind, place: int) -> list[RateRow]:
    """What a gate's tests take of labels; the arguments are those of `Labels.bad`."""
    return [(*test.bad(metric, place), *stable.bad(metric, place)) for test, stable in pairs]


def rows_of_class(pairs: Iterable[LabelPair], place: int) -> tuple[int, int]:
    """Labelled rows of one class in the test and in the stable arm; the class is the one at `place`."""
    found = [[arm.classes[place].actual if arm.classes else 0 for arm in pair] for pair in pairs]
    return sum(test for test, _ in found), sum(stable for _, stable in found)
