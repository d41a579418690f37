"""The inputs of both arms against their reference profiles: P3 of each, and whether the world has changed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

import numpy as np

from evaluator.statistics import distances, drift
from evaluator.statistics.counts import FloatArray, frozen
from evaluator.statistics.design_effect import effects_of_bins, weights_of_past
from evaluator.statistics.drift import DriftReference, DriftTest
from evaluator.terms import Profile, Terms
from evaluator.window.input_rows import BinRows, Table

ALPHA: Final = 0.01
"""An arm alarms at 1/.01."""


@dataclass(frozen=True, slots=True, eq=False)
class AlikeBins:
    """One arm's rows by their requests, the older ones with less weight; each [features, bins].

    Attributes:
        up_to: rows in a bin or in one before it.
        own: as in BinRows, and zeros where there were no requests of several rows.
        every: likewise.
    """

    up_to: FloatArray
    own: FloatArray
    every: FloatArray

    def plus(self, counts: FloatArray, rows: BinRows) -> "AlikeBins":
        """With one look's, whose rows are `counts`, [features, bins]."""
        weights = weights_of_past(self.up_to, self.own)[:, np.newaxis]
        up_to = frozen(self.up_to * weights + counts.cumsum(axis=-1))
        if not (rows.own or rows.every or self.own.any() or self.every.any()):
            return AlikeBins(up_to, self.own, self.every)
        own, every = (filled(table, self.own, rising=True) for table in (rows.own, rows.every))
        return AlikeBins(up_to, frozen(self.own * weights + own), frozen(self.every * weights + every))

    @property
    def effects(self) -> FloatArray | None:
        """The design effect per feature; None: every request had one row, or nothing is known."""
        return effects_of_bins(self.up_to, self.own, self.every) if self.own.any() else None


class FeatureShift(NamedTuple):
    """How far one feature's values have moved from their profile.

    Attributes:
        name: the feature's.
        shift: largest shift of a cumulative share (Kolmogorov-Smirnov), 0 to 1.
        psi: population stability index, nats; 0: too little was seen.
        divergence: Jensen-Shannon, bits, 0 to 1; 0: too little was seen.
    """

    name: str
    shift: float
    psi: float = 0.0
    divergence: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ArmInputs:
    """One arm's inputs.

    Attributes:
        profile: what they are compared with.
        test: the e-process of the present phase: "not drifted", or once drifted "still drifted".
        counts: [features, bins] rows of the present phase, from the look that began it on.
        alike: all rows by their requests.
    """

    profile: Profile
    test: DriftTest
    counts: FloatArray
    alike: AlikeBins

    @classmethod
    def open(cls, profile: Profile, tolerance: float | Sequence[float]) -> Self:
        """A fresh watch; `tolerance` of all features, or of each."""
        rows = [feature.proportions for feature in profile.features]
        reference = DriftReference.of(rows, profile.rows, tolerance, ALPHA)
        zeros = frozen(np.zeros_like(reference.counts))
        return cls(profile, drift.drift_test(reference), zeros, AlikeBins(zeros, zeros, zeros))

    @property
    def rows(self) -> int:
        """Rows of the present phase."""
        return int(self.counts.sum(axis=-1).max(initial=0.0))

    def shifts(self) -> list[tuple[str, float]]:
        """Largest shift of a cumulative share per feature, in the present phase; empty while it has no rows."""
        if not self.rows:
            return []
        largest = np.nan_to_num(distances.largest_shift(self.test.reference.counts, self.counts))
        return [(feature.name, float(shift)) for feature, shift in zip(self.profile.features, largest, strict=True)]

    def most_moved(self, number: int) -> list[FeatureShift]:
        """The features that moved most in the present phase, largest first; empty while it has no rows."""
        return most_moved([self], number)

    def after(self, rows: BinRows, cap: float = math.inf, effects: FloatArray | None = None) -> "ArmInputs":
        """The arm's inputs after one look.

        Args:
            rows: by feature and bin, in the profile's order.
            cap: the most by which this look may raise ln E towards an alarm.
            effects: the design effect per feature; None: as the rows and their requests say.
        """
        counts = filled(rows.rows, self.counts)
        alike = self.alike.plus(counts, rows)
        test = drift.update(self.test, counts, cap, alike.effects if effects is None else effects)
        # The look that raised the alarm shows the drift; what came before it would hide it.
        before = self.counts if test.drifted is self.test.drifted else np.zeros_like(self.counts)
        return replace(self, test=test, counts=frozen(before + counts), alike=alike)


def most_moved(arms: Iterable[ArmInputs], number: int) -> list[FeatureShift]:
    """The features that moved most in the present phases of arms, each as in the one in which it moved most."""
    furthest: dict[str, tuple[float, ArmInputs, int]] = {}
    for arm in arms:
        for row, (name, shift) in enumerate(arm.shifts()):
            if name not in furthest or shift >= furthest[name][0]:
                furthest[name] = shift, arm, row
    shown = sorted(furthest.items(), key=lambda one: (-one[1][0], one[0]))[:number]
    far = _distances([(arm, row) for _, (_, arm, row) in shown])
    return [FeatureShift(name, shift, *of) for (name, (shift, _, _)), of in zip(shown, far, strict=True)]


def _distances(features: Sequence[tuple[ArmInputs, int]]) -> list[tuple[float, float]]:
    """PSI and Jensen-Shannon of features by their own bins; 0 where too little was seen.

    Those that stand in tables of as many bins are compared in one.
    """
    found: dict[int, tuple[float, float]] = {}
    for bins in {arm.counts.shape[1] for arm, _ in features}:
        alike = [(place, arm, row) for place, (arm, row) in enumerate(features) if arm.counts.shape[1] == bins]
        reference = np.array([arm.test.reference.counts[row] for _, arm, row in alike])
        real = ~np.array([arm.test.reference.surplus[row] for _, arm, row in alike])
        seen = np.array([arm.counts[row] for _, arm, row in alike])
        enough = seen.sum(axis=-1) >= distances.ENOUGH_TO_SHOW
        of_both = distances.psi(reference, seen, real), distances.jensen_shannon(reference, seen)
        psi, divergence = (np.where(enough, values, 0.0).tolist() for values in of_both)
        found |= {place: far for (place, *_), far in zip(alike, zip(psi, divergence, strict=True), strict=True)}
    return [found[place] for place in range(len(features))]


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Both arms' inputs; None: the version was published without a reference profile."""

    test: ArmInputs | None
    stable: ArmInputs | None

    @property
    def drifted(self) -> bool:
        """Whether the inputs of both arms have drifted: then the world has changed, and no version is to blame."""
        return all(arm is not None and arm.test.drifted for arm in (self.test, self.stable))

    def after(self, test: BinRows, stable: BinRows) -> "Inputs":
        """The inputs after one look."""
        return Inputs(self.test and self.test.after(test), self.stable and self.stable.after(stable))


def open_inputs(terms: Terms) -> Inputs:
    """A fresh watch over both arms."""
    margin = terms.policy.drift_margin
    return Inputs(_open(terms.test_profile, margin), _open(terms.stable_profile, margin))


def _open(profile: Profile | None, margin: float) -> ArmInputs | None:
    return ArmInputs.open(profile, margin) if profile is not None and profile.features else None


def filled(rows: Table, like: FloatArray, *, rising: bool = False) -> FloatArray:
    """A table of the shape of another, whose rows are longer where a feature has fewer bins than others.

    Args:
        rising: what is in a bin or in one before it is all that there is beyond the feature's bins, too.
    """
    if len(rows) == len(like) and all(len(row) == like.shape[1] for row in rows):
        return np.array(rows, dtype=np.float64)
    filled = np.zeros_like(like)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
        if rising:
            filled[number, len(row) :] = row[-1]
    return filled
