"""Labels that come late: each counted once, under the slice in which its prediction was routed.

Nothing is stored of a prediction: its token says which version answered, when, and what it predicted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.common.clock import Clock
from services.common.kept_slices import KeptSlices, Slice, is_ahead, room_of
from services.common.labelled_rows import LabelledRows
from services.common.late_rows import LateRows
from services.common.left import LANE_SECONDS, Left
from services.common.mirrored_pairs import Classes, MirroredPairs, arm_of, slice_of
from services.common.prediction_token import MAX_ROWS, NO_CLASS, Prediction, TokenError, TokenKeys
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from services.common.text import listed, shown

_VALUE_BITS: Final = MAX_ROWS
_WRONG_BITS: Final = 2 * MAX_ROWS
_ROWS: Final = (1 << MAX_ROWS) - 1
EPOCHS_AHEAD: Final = 4
"""So much newer than this process's may the routes be that a request was sent by."""
# Each has model, version, traffic, segment and slice as its first attributes.
_OF_SLICES: Final = frozenset(
    {
        catalog.CALLER_FEEDBACK_COUNT,
        catalog.COHORT_FEEDBACK,
        catalog.FEEDBACK_ALIKE,
        catalog.FEEDBACK_COUNT,
        catalog.FEEDBACK_ERROR,
        catalog.FEEDBACK_VALUE,
        catalog.SHADOW_LABEL_COUNT,
        catalog.SHADOW_NOTED_COUNT,
    }
)
_OF_LANES: Final = _OF_SLICES | {catalog.FEEDBACK_LATE_COUNT}


class Status(StrEnum):
    """What became of an observation."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    TOO_LATE = "too_late"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an observation, and why it was refused."""

    status: Status
    reason: str = ""


class FeedbackBook:
    """Verifies tokens, remembers which rows were labelled, and counts.

    Args:
        keys: verify the tokens.
        store: where labels are counted.
        clock: for the lag from prediction to label.
        classes: gives a version's class names.
        remembered: predictions whose labelled rows are remembered; the oldest are forgotten first.
        pairs: mirrored requests whose second answer is remembered, likewise.
        late: predictions whose labels came too late that are remembered, likewise.
    """

    def __init__(
        self,
        keys: TokenKeys,
        store: MetricStore,
        clock: Clock,
        classes: Classes,
        remembered: int = 500_000,
        pairs: int = 50_000,
        late: int = 50_000,
    ) -> None:
        self._keys = keys
        self._store = store
        self._clock = clock
        self._classes = classes
        # Three bits per row, for a label, a number and a wrong label: a prediction has at most 64 rows that take them.
        self._rows = LabelledRows(remembered)
        # Apart: old predictions, of which anybody may have kept many, push out none of today's.
        self._late_rows = LateRows(late)
        self._pairs = MirroredPairs(store, classes, pairs)
        self._slices: dict[tuple[str, str], KeptSlices] = {}
        self._epochs: dict[tuple[str, str], int] = {}
        self._left = Left[tuple[str, str]](LANE_SECONDS)

    @property
    def awaited(self) -> int:
        """Mirrored requests whose labels would meet both answers."""
        return len(self._pairs)

    def nonce(self, prediction_id: str) -> int:
        """The nonce that names the instance which keeps the prediction's labels.

        Raises:
            TokenError: the id is not one of ours.
        """
        return self._keys.verify(prediction_id).nonce

    def follow(self, epochs: Mapping[tuple[str, str], int]) -> None:
        """Takes over the epochs in force, by (model, segment); one that falls ends what was under higher ones.

        Lanes that are gone are forgotten after a while: their version may stay for months, and segments come and go.
        """
        # Of thousands of lanes mostly one has changed; sets find it without a turn of the loop for each.
        for lane, epoch in epochs.items() - self._epochs.items():
            if epoch < self._epochs.get(lane, 0) and lane in self._slices:
                self._drop(lane, self._slices[lane].fall(epoch, self._clock.now()))
        self._epochs.update(epochs)
        left = (self._epochs.keys() | self._slices.keys()) - epochs.keys()
        over = self._left.over(left, epochs, self._clock.monotonic())
        if over:
            self._forget(over)

    def pair(self, stable_id: str, test_id: str) -> None:
        """Remembers what the test version answered to the same request, until a label says who was right."""
        try:
            stable, test = self._keys.verify(stable_id), self._keys.verify(test_id)
        except TokenError:
            # Of a Worker with other keys: its labels are refused as well.
            return
        if stable not in self._pairs and self._keep_slice(stable):
            self._pairs.note(stable, test)

    def label(self, prediction_id: str, row: int, actual: str) -> Result:
        """Counts the true class of a row."""
        prediction = self._verify(prediction_id, row)
        if isinstance(prediction, Result):
            return prediction
        classes = self._classes(prediction.model, prediction.version)
        if classes is None:
            return self._uncounted(prediction, row)
        if not classes:
            arm = f"{prediction.model} {prediction.version}"
            return Result(Status.REFUSED, f"{arm} has no classes: report a number for row {row}, not {shown(actual)}")
        if actual not in classes:
            return Result(Status.REFUSED, f"{shown(actual)} is not a class of {prediction.model}: {listed(classes)}")
        number = prediction.classes[row]
        if number == NO_CLASS or number >= len(classes):
            return Result(Status.REFUSED, f"{prediction.model} {prediction.version} predicted no class for row {row}")
        refusal = self._remember(prediction, row)
        if refusal is not None:
            return refusal
        predicted = classes[number]
        correct = "true" if predicted == actual else "false"
        few = len(classes) <= catalog.PREDICTED_CLASSES
        self._store.counter(
            catalog.FEEDBACK_COUNT,
            *arm_of(prediction),
            prediction.segment,
            slice_of(prediction),
            predicted if few else "",
            actual if len(classes) <= catalog.COUNTED_CLASSES else "",
            correct,
        ).add()
        self._count_alike(prediction, row, wrong=predicted != actual)
        self._count_cohort(prediction, "label", correct)
        if prediction.caller:
            at = (*arm_of(prediction), prediction.segment, slice_of(prediction), prediction.caller, correct)
            self._store.counter(catalog.CALLER_FEEDBACK_COUNT, *at).add()
        labelled = (self._rows[prediction.nonce] & _ROWS).bit_count()
        self._pairs.label(prediction, row, actual, last=labelled == len(prediction.classes))
        self._count_lag(prediction, correct, actual if few else "")
        return Result(Status.ACCEPTED)

    def value(self, prediction_id: str, row: int, value: float) -> Result:
        """Counts what turned out to be true of a row of a regression, or a number that the caller reports for a row."""
        prediction = self._verify(prediction_id, row)
        if isinstance(prediction, Result):
            return prediction
        if self._classes(prediction.model, prediction.version) is None:
            return self._uncounted(prediction, _VALUE_BITS + row)
        if not abs(value) < float("inf"):
            return Result(Status.REFUSED, f"{value} is not a finite number")
        refusal = self._remember(prediction, row, _VALUE_BITS)
        if refusal is not None:
            return refusal
        off = abs(prediction.numbers[row] - value) if prediction.numbers else 0.0
        metric, seen = (catalog.FEEDBACK_ERROR, off) if prediction.numbers else (catalog.FEEDBACK_VALUE, value)
        # What lies far outside the buckets, or was predicted as no number, counts as twice the last bound: two numbers
        # of one caller could make the sum infinite otherwise, and no scrape would take the series any more.
        most = metric.bounds[-1] * 2
        seen = max(-most, min(most, seen))
        self._store.histogram(metric, *arm_of(prediction), prediction.segment, slice_of(prediction)).record(seen)
        if not prediction.numbers:
            self._count_cohort(prediction, "value", "true" if value > 0 else "false")
        self._count_lag(prediction, "")
        return Result(Status.ACCEPTED)

    def _verify(self, prediction_id: str, row: int) -> Prediction | Result:
        try:
            prediction = self._keys.verify(prediction_id)
        except TokenError as error:
            return Result(Status.REFUSED, str(error))
        if not 0 <= row < len(prediction.classes):
            rows = len(prediction.classes)
            return Result(Status.REFUSED, f"row {row} is none of the {rows} rows of this prediction that take labels")
        return prediction

    def _remember(self, prediction: Prediction, row: int, first: int = 0) -> Result | None:
        """Notes the row, among the bits from `first` on; a result when it does not count."""
        bit = first + row
        # However old it is by now: what was counted once was in time.
        if self._rows[prediction.nonce] >> bit & 1 or not self._keep_slice(prediction):
            return self._uncounted(prediction, bit)
        self._rows[prediction.nonce] |= 1 << bit
        return None

    def _uncounted(self, prediction: Prediction, bit: int) -> Result:
        """A label that does not count; late ones are counted as such once for each row."""
        arm = (*arm_of(prediction), prediction.segment)
        if self._rows[prediction.nonce] >> bit & 1:
            self._store.counter(catalog.FEEDBACK_DUPLICATE_COUNT, *arm_of(prediction)).add()
            return Result(Status.DUPLICATE)
        first = self._late_rows.note(prediction.nonce, bit, prediction.time_ms, arm)
        if first:
            self._store.counter(catalog.FEEDBACK_LATE_COUNT, *arm).add()
        else:
            self._store.counter(catalog.FEEDBACK_DUPLICATE_COUNT, *arm_of(prediction)).add()
        return Result(Status.TOO_LATE)

    def _keep_slice(self, prediction: Prediction) -> bool:
        """Whether the prediction's slice is kept; those that a new one pushes out go with their series."""
        lane = (prediction.model, prediction.segment)
        # Others' routes may be somewhat newer. What is far ahead is of epochs that never were, before the Registry's
        # database was put back, and would pass for the newest.
        if prediction.epoch > self._epochs.get(lane, prediction.epoch) + EPOCHS_AHEAD:
            return False
        kept = self._slices.setdefault(lane, KeptSlices())
        here = (prediction.epoch, prediction.slice)
        if here in kept:
            return True
        if gone := kept.add(here, prediction.time_ms / 1000, self._clock.now(), lambda: self._sizes(lane)):
            self._drop(lane, gone)
        return here in kept

    def _drop(self, lane: tuple[str, str], slices: Iterable[Slice]) -> None:
        """Drops the series of a lane's slices."""
        names = frozenset(f"{epoch}.{number}" for epoch, number in slices)
        self._store.drop(
            lambda metric, attributes: (
                metric in _OF_SLICES
                and attributes["slice"] in names
                and (attributes["model"], attributes["segment"]) == lane
            )
        )

    def _forget(self, lanes: Collection[tuple[str, str]]) -> None:
        """Drops what is known of these lanes, and what was counted in them."""
        for lane in lanes:
            self._epochs.pop(lane, None)
            self._slices.pop(lane, None)
        self._store.drop(
            lambda metric, attributes: metric in _OF_LANES and (attributes["model"], attributes["segment"]) in lanes
        )

    def _sizes(self, lane: tuple[str, str]) -> Counter[Slice]:
        """The room that the series of each slice take."""
        sizes: Counter[Slice] = Counter()
        for metric, values in self._store.series():
            if metric in _OF_SLICES and (values[0], values[3]) == lane:
                epoch, _, number = values[4].partition(".")
                sizes[int(epoch), int(number)] += room_of(metric)
        return sizes

    def _count_alike(self, prediction: Prediction, row: int, *, wrong: bool) -> None:
        """What one more label of a request adds to the products of its labelled rows and its wrong ones."""
        known = self._rows[prediction.nonce]
        rows, before = (known & _ROWS).bit_count(), (known >> _WRONG_BITS).bit_count()
        now = before + wrong
        if wrong:
            self._rows[prediction.nonce] = known | 1 << (_WRONG_BITS + row)
        products = (2 * rows - 1, now * rows - before * (rows - 1), now * now - before * before)
        at = (*arm_of(prediction), prediction.segment, slice_of(prediction))
        self._store.spread(catalog.FEEDBACK_ALIKE, catalog.ALIKE_SUMS, *at).add(products)

    def _count_cohort(self, prediction: Prediction, observed: str, good: str) -> None:
        if 0 <= prediction.cohort < catalog.COHORTS:
            at = (*arm_of(prediction), prediction.segment, slice_of(prediction), observed, good)
            self._store.histogram(catalog.COHORT_FEEDBACK, *at).record(prediction.cohort)

    def _count_lag(self, prediction: Prediction, correct: str, actual: str = "") -> None:
        made, now = prediction.time_ms / 1000, self._clock.now()
        if is_ahead(made, now):
            # The Worker's clock is ahead, or this one's was set back. If this label was called quick, nobody would wait
            # for those that are late.
            return
        lag = max(0.0, now - made)
        self._store.histogram(catalog.FEEDBACK_LAG, *arm_of(prediction), correct).record(lag)
        if actual:
            self._store.histogram(catalog.FEEDBACK_CLASS_LAG, *arm_of(prediction), actual).record(lag)
