"""The inputs of both arms against their reference profiles: P3 of each, and whether the world has changed."""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evaluator.arms import InputRows
from evaluator.statistics import drift
from evaluator.statistics.counts import FloatArray, frozen
from evaluator.statistics.drift import DriftReference, DriftTest
from evaluator.terms import Profile, Terms

ALPHA: Final = 0.01
"""An arm alarms at 1/.01."""


@dataclass(frozen=True, slots=True, eq=False)
class ArmInputs:
    """One arm's inputs.

    Attributes:
        profile: what they are compared with.
        test: the e-process of the present phase: "not drifted", or once drifted "still drifted".
        counts: [features, bins] rows of the present phase, from the look that began it on.
    """

    profile: Profile
    test: DriftTest
    counts: FloatArray

    @property
    def rows(self) -> int:
        """Rows of the present phase."""
        return int(self.counts.sum(axis=-1).max(initial=0.0))

    def shifts(self) -> list[tuple[str, float]]:
        """Largest shift of a cumulative share per feature, in the present phase; empty while it has no rows."""
        if not self.rows:
            return []
        reference = self.test.reference.counts
        expected = np.cumsum(reference / reference.sum(axis=-1, keepdims=True), axis=-1)
        seen = np.cumsum(self.counts / np.maximum(self.counts.sum(axis=-1, keepdims=True), 1.0), axis=-1)
        largest = np.where(self.counts.any(axis=-1), np.abs(seen - expected).max(axis=-1), 0.0)
        return [(feature.name, float(shift)) for feature, shift in zip(self.profile.features, largest, strict=True)]

    def after(self, rows: InputRows, cap: float = math.inf) -> "ArmInputs":
        """The arm's inputs after one look.

        Args:
            rows: by feature and bin, in the profile's order.
            cap: the most by which this look may raise ln E towards an alarm.
        """
        test = drift.update(self.test, rows, cap)
        added = np.zeros_like(self.counts)
        for number, row in enumerate(rows):
            added[number, : len(row)] = row
        # The look that raised the alarm shows the drift; what came before it would hide it.
        before = self.counts if test.drifted is self.test.drifted else np.zeros_like(self.counts)
        return replace(self, test=test, counts=frozen(before + added))


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Both arms' inputs; None: the version was published without a reference profile."""

    test: ArmInputs | None
    stable: ArmInputs | None

    @property
    def drifted(self) -> bool:
        """Whether the inputs of both arms have drifted: then the world has changed, and no version is to blame."""
        return all(arm is not None and arm.test.drifted for arm in (self.test, self.stable))

    def after(self, test: InputRows, stable: InputRows) -> "Inputs":
        """The inputs after one look."""
        return Inputs(self.test and self.test.after(test), self.stable and self.stable.after(stable))


def open_inputs(terms: Terms) -> Inputs:
    """A fresh watch over both arms."""
    margin = terms.policy.drift_margin
    return Inputs(_open(terms.test_profile, margin), _open(terms.stable_profile, margin))


def _open(profile: Profile | None, margin: float) -> ArmInputs | None:
    if profile is None or not profile.features:
        return None
    rows = [feature.proportions for feature in profile.features]
    reference = DriftReference.of(rows, profile.rows, margin, ALPHA)
    return ArmInputs(profile, drift.drift_test(reference), frozen(np.zeros_like(reference.counts)))
