"""Labels by slice of routing time, and what of them has been taken in.

Labels are compared within a slice only, and only once each: what comes later for a slice is added. Otherwise early
labels of a young test arm would meet the settled labels of stable. What depends on one class alone may take slices of
any age for harm; all else takes a slice when it is old enough, since labels of one class, or of wrong answers, may come
later than others.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from evaluator.window.arms import SliceKey
from evaluator.window.labels import NO_LABELS, LabelPair, SliceCounts, add_slice
from services.common.policy.records import LabelMaturity

NOTHING: LabelPair = (NO_LABELS, NO_LABELS)

Length = Callable[[int], float | None]
"""Seconds that a slice of an epoch lasts; None: the epoch is none of the rollout's."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The slices of a rollout.

    Attributes:
        slices: all that was counted.
        young_taken: labels that were taken whatever their slice's age.
        aged_taken: labels that were taken when their slice was old enough.
        safe_taken: labels that the tests of non-inferiority have taken.
        taken_by: labels that gates have taken by themselves, which wait for what others do not.
        rests: stretches of time (start, end) whose slices are left out, since the inputs had drifted.
        fed: since when the latest predictions of a slice may have been made, on the scale of what was watched.
    """

    slices: Mapping[SliceKey, SliceCounts] = field(default_factory=dict)
    young_taken: Mapping[SliceKey, LabelPair] = field(default_factory=dict)
    aged_taken: Mapping[SliceKey, LabelPair] = field(default_factory=dict)
    safe_taken: Mapping[SliceKey, LabelPair] = field(default_factory=dict)
    taken_by: Mapping[str, Mapping[SliceKey, LabelPair]] = field(default_factory=dict)
    rests: tuple[tuple[float, float], ...] = ()
    fed: Mapping[SliceKey, float] = field(default_factory=dict)

    @property
    def resting(self) -> bool:
        """Whether the inputs are drifted now."""
        return bool(self.rests) and self.rests[-1][1] == math.inf

    def plus(self, counted: Mapping[SliceKey, SliceCounts], since: float = -math.inf) -> "Ledger":
        """The ledger with a look's counts, which were made since a moment on the scale of what was watched."""
        slices, fed = dict(self.slices), dict(self.fed)
        for key, part in counted.items():
            add_slice(slices, key, part)
            if part.test_predictions or part.stable_predictions:
                fed[key] = since
        return replace(self, slices=slices, fed=fed)

    def rest(self, start: float) -> "Ledger":
        """Leaves out the slices from `start` on."""
        return replace(self, rests=(*self.rests, (start, math.inf)))

    def wake(self, end: float) -> "Ledger":
        """Takes in slices that begin after `end` again."""
        return replace(self, rests=(*self.rests[:-1], (self.rests[-1][0], end)))

    def take_young(self, length: Length) -> tuple[list[LabelPair], list[LabelPair], "Ledger"]:
        """New labels of slices without a test arm, new labels of all others, and the ledger with both taken."""
        taken = dict(self.young_taken)
        past: list[LabelPair] = []
        rows: list[LabelPair] = []
        for key in sorted(self.slices):
            counts = self.slices[key]
            row = _beyond(counts, taken.get(key, NOTHING))
            if row is None or self._left_out(key, length):
                continue
            (rows if counts.test_predictions or counts.test.rows else past).append(row)
            taken[key] = (counts.test, counts.stable)
        return past, rows, replace(self, young_taken=taken) if past or rows else self

    def take_aged(self, keys: list[SliceKey]) -> tuple[list[LabelPair], "Ledger"]:
        """New labels of those slices, and the ledger with them taken."""
        taken = dict(self.aged_taken)
        rows = self._take(keys, taken)
        return rows, replace(self, aged_taken=taken) if rows else self

    def take_safe(self, keys: list[SliceKey], maturity: LabelMaturity) -> tuple[list[LabelPair], "Ledger"]:
        """New labels of those slices that are covered enough, and the ledger with them taken."""
        taken = dict(self.safe_taken)
        rows = self._take(self.covered(keys, maturity), taken)
        return rows, replace(self, safe_taken=taken) if rows else self

    def take_by(self, by: str, keys: list[SliceKey]) -> tuple[list[LabelPair], "Ledger"]:
        """New labels of those slices for what takes them by itself, and the ledger with them taken."""
        taken = dict(self.taken_by.get(by, {}))
        rows = self._take(keys, taken)
        known = by in self.taken_by and not rows
        return rows, self if known else replace(self, taken_by={**self.taken_by, by: taken})

    def covered(self, keys: list[SliceKey], maturity: LabelMaturity) -> list[SliceKey]:
        """Those of the slices that have labels of enough predictions."""
        return [key for key in keys if _covered(self.slices[key], maturity)]

    def aged(self, begun: float, now: float, age: float, length: Length, steady: float = math.inf) -> list[SliceKey]:
        """The slices with a test arm that ended `age` seconds ago, so that labels may be complete.

        Of a SHADOW step, those in which there should have been one.

        They are numbered by Workers' clocks. One that is set back, or an Evaluator's that is set forward, would make a
        slice old that still gets predictions, so none may have come for as long either; `steady` is `now` on the scale
        of what was watched.

        One that would have ended before the rollout was `begun` was numbered by a Worker which had not heard of the
        epoch's length of slices yet: nobody knows when it was.
        """
        keys = []
        for key in sorted(self.slices):
            seconds = length(key[0])
            counts = self.slices[key]
            if seconds is None or not (counts.test_predictions or counts.originals):
                continue
            end = (key[1] + 1) * seconds
            old = now - end >= age and steady - self.fed.get(key, -math.inf) >= age
            if end >= begun and old and not self._left_out(key, length):
                keys.append(key)
        return keys

    def coverage(self, keys: list[SliceKey]) -> tuple[float, float]:
        """Shares of the slices' predictions that have labels, test and stable; NaN where nothing was predicted."""
        slices = [self.slices[key] for key in keys]
        return (
            _share(sum(one.test.rows for one in slices), sum(one.test_predictions for one in slices)),
            _share(sum(one.stable.rows for one in slices), sum(one.stable_predictions for one in slices)),
        )

    def total(self, keys: list[SliceKey]) -> SliceCounts:
        """All that was counted in the slices."""
        total = SliceCounts()
        for key in keys:
            total = total.plus(self.slices[key])
        return total

    def labels(self) -> tuple[int, int]:
        """All labels of the test arm and of the stable arm."""
        return (
            sum(counts.test.rows for counts in self.slices.values()),
            sum(counts.stable.rows for counts in self.slices.values()),
        )

    def _take(self, keys: list[SliceKey], taken: dict[SliceKey, LabelPair]) -> list[LabelPair]:
        """New labels of those slices, which are noted in `taken`."""
        rows: list[LabelPair] = []
        for key in keys:
            counts = self.slices[key]
            row = _beyond(counts, taken.get(key, NOTHING))
            if row is not None:
                rows.append(row)
                taken[key] = (counts.test, counts.stable)
        return rows

    def _left_out(self, key: SliceKey, length: Length) -> bool:
        seconds = length(key[0])
        if seconds is None:
            return False
        begin, end = key[1] * seconds, (key[1] + 1) * seconds
        return any(begin < until and end > since for since, until in self.rests)


def _covered(counts: SliceCounts, maturity: LabelMaturity) -> bool:
    return all(
        labels >= maturity.min_coverage * predictions > 0
        for labels, predictions in (
            (counts.test.rows, counts.test_predictions),
            (counts.stable.rows, counts.stable_predictions),
        )
    )


def _share(labels: int, predictions: int) -> float:
    return labels / predictions if predictions else math.nan


def _beyond(counts: SliceCounts, taken: LabelPair) -> LabelPair | None:
    """Labels that were not taken yet; None: there are none in either arm."""
    # Most slices are as they were when they were taken last.
    if counts.test is taken[0] and counts.stable is taken[1]:
        return None
    row = counts.test.beyond(taken[0]), counts.stable.beyond(taken[1])
    return row if row[0].rows or row[1].rows else None
