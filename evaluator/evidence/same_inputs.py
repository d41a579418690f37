"""Whether both arms get the same inputs: each request is drawn by itself, so neither arm may have others.

Where a gateway chooses by content, or a connection stays with one Router that has another table, one arm's requests are
others than the other's, and their errors, labels and answers say nothing of the versions. Each cut between two bins of
a feature is a rate of both arms, tested as P1 in both directions: one mixture over all cuts of all features. A window
is of all processes together, since who draws (the Router) is another than who counts (a Worker).
"""

import math
from dataclasses import dataclass, replace
from operator import add
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluator.evidence.inputs import AlikeBins, filled
from evaluator.statistics import distances, rates
from evaluator.statistics.bets import Margin
from evaluator.statistics.counts import FloatArray, frozen
from evaluator.statistics.design_effect import effects_of_cuts
from evaluator.statistics.process import SUSPICION, log_threshold
from evaluator.statistics.rates import RateTest, RateWindows
from evaluator.statistics.sample_ratio import ALPHA
from evaluator.terms import Profile, Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import drawn, taken
from evaluator.window.input_rows import BinRows, Table, has_other_lanes, same_rows

TOLERANCE: Final = 0.01
"""Of a cumulative share. It moves a rate by no more, and leaves room for what is counted of one arm a moment later, or
once more."""
PAST_KEPT: Final = 3_000
"""Rows of stable that bets are made from, at most: inputs change with the hour, in both arms alike."""
_KEPT: Final = 0.95
"""Weight of the looks before among the requests that were drawn and taken."""
_MOST_APART: Final = 0.005
"""By how much the shares of requests that were not taken may differ: which those are may depend on what is in them."""
_FEW: Final = 2.0
"""Requests of the test arm that may be under way between two looks, whatever their share."""
_BEYOND_CHANCE: Final = 1.95
"""What the Kolmogorov-Smirnov distance of two samples alike exceeds once in 1,000, as a multiple of sqrt(1/n + 1/m)."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Requests of the latest looks, the older ones with less weight: those drawn for an arm, and those it took."""

    test: tuple[float, float] = (0.0, 0.0)
    stable: tuple[float, float] = (0.0, 0.0)

    def plus(self, counted: ArmCounts, epoch: int) -> "Taken":
        """With a look's counts."""
        test, control, stable = drawn(counted, epoch)
        by_test, by_stable = taken(counted, epoch)
        return Taken(_later(self.test, test, by_test), _later(self.stable, control + stable, by_stable))

    @property
    def apart(self) -> bool:
        """Whether one arm refuses more requests than the other (a full queue, a value that one version does not take).

        Of processes that count no draws nothing is known, and nothing is held against them.
        """
        test, by_test = self.test
        stable, by_stable = self.stable
        if not (test and stable):
            return False
        gap = abs((test - by_test) / test - (stable - by_stable) / stable)
        return gap > _MOST_APART + _FEW / test


Cuts = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""The cuts' features and the bins before them."""


class Unlike(NamedTuple):
    """A feature of which the arms have other values, and by how much of its mass (Kolmogorov-Smirnov)."""

    name: str
    shift: float


@dataclass(frozen=True, slots=True, eq=False)
class SameInputs:
    """The inputs of both arms by stable's profile.

    Attributes:
        profile: it has the bins.
        cuts: between them.
        test: evidence that some cut's share is another in the test arm: of all mass below each, then of all above.
        alike: both arms' rows by their requests.
        seen: [features, bins] rows of the test arm and of the stable one that were compared.
        read: the processes that the look before read.
        others: requests of other lanes were counted by the look before, which an older release recorded.
        taken: requests by the arm that was drawn, and those that it took.
    """

    profile: Profile
    cuts: Cuts
    test: RateTest
    alike: AlikeBins
    seen: tuple[FloatArray, FloatArray]
    read: frozenset[str] = frozenset()
    others: bool = False
    taken: Taken = Taken()

    @property
    def broken(self) -> bool:
        """Whether the arms get other inputs; wrong for one of 1,000 rollouts whose requests are drawn by chance."""
        return self.test.max_log_e >= log_threshold(ALPHA)

    @property
    def suspected(self) -> bool:
        """Whether one look more or two may show it."""
        return self.test.log_e >= log_threshold(ALPHA) * SUSPICION

    @property
    def rows(self) -> tuple[int, int]:
        """Rows of the test arm and of the stable one that were compared."""
        test, stable = (int(counts.sum(axis=-1).max(initial=0.0)) for counts in self.seen)
        return test, stable

    def after(self, counted: ArmCounts, epoch: int | None) -> "SameInputs":
        """The inputs after one look.

        Of a process that the look before did not read the counts are of a longer time than all others'. What a release
        recorded that did not count inputs by lane says nothing where other lanes had requests, which are counted a
        moment later than they are read, or earlier.

        Args:
            counted: since the look before.
            epoch: the split whose requests are compared; None: none are.
        """
        others = has_other_lanes(counted)
        following = replace(
            self,
            read=frozenset(one.instance_id for one in counted.processes),
            others=others,
            taken=Taken() if epoch is None else self.taken.plus(counted, epoch),
        )
        if epoch is None or others or self.others or following.taken.apart:
            return following
        test, stable = same_rows(counted, self.read)
        return following.compared(test, stable)

    def compared(self, test: BinRows, stable: BinRows) -> "SameInputs":
        """With one look's rows of both arms."""
        first, second = filled(test.rows, self.seen[0]), filled(stable.rows, self.seen[1])
        both = BinRows([], _sum(test.own, stable.own), _sum(test.every, stable.every))
        alike = self.alike.plus(first + second, both)
        cuts = self.cuts
        effects = effects_of_cuts(alike.up_to, alike.own, alike.every)[cuts]
        effects = np.concatenate((effects, effects))
        kept = np.minimum(1.0, PAST_KEPT * effects / np.maximum(self.test.n_past, 1.0))
        recent = replace(self.test, n_past=frozen(self.test.n_past * kept), x_past=frozen(self.test.x_past * kept))
        windows = RateWindows(*_rates(first, cuts), *_rates(second, cuts))
        return replace(
            self,
            test=rates.update(recent, windows, effects),
            alike=alike,
            seen=(frozen(self.seen[0] + first), frozen(self.seen[1] + second)),
        )

    def unlike(self) -> list[Unlike]:
        """The features that are at least half as far apart as the one that is furthest, and beyond chance.

        Which of them the evidence is of is not asked: a look that brings as much as it may teaches no bet anything.
        """
        shifts = np.nan_to_num(distances.largest_shift(self.seen[1], self.seen[0]))
        test, stable = (max(float(rows), 1.0) for rows in self.rows)
        chance = _BEYOND_CHANCE * math.sqrt(1.0 / test + 1.0 / stable)
        furthest = float(shifts.max())
        found = [
            Unlike(feature.name, float(shift))
            for feature, shift in zip(self.profile.features, shifts, strict=True)
            if shift >= min(max(furthest / 2.0, chance), furthest)
        ]
        return sorted(found, key=lambda one: (-one.shift, one.name))


def open_same_inputs(terms: Terms) -> SameInputs | None:
    """A fresh comparison; None: the arms' inputs are not counted by one profile, or not drawn one by one."""
    profile = terms.stable_profile
    return _open(profile) if profile is not None and terms.compares_inputs else None


def _open(profile: Profile) -> SameInputs:
    bins = max(len(feature.proportions) for feature in profile.features)
    zeros = frozen(np.zeros((len(profile.features), bins)))
    cuts = _cuts(profile)
    sides = 2 * len(cuts[0])
    test = rates.harm_test_of_any(Margin(TOLERANCE), ALPHA, sides)
    return SameInputs(profile, cuts, test, AlikeBins(zeros, zeros, zeros), (zeros, zeros))


def _cuts(profile: Profile) -> Cuts:
    bins = np.array([len(feature.proportions) for feature in profile.features])
    features, before = np.nonzero(np.arange(bins.max() - 1) < bins[:, np.newaxis] - 1)
    return features, before


def _rates(counts: FloatArray, cuts: Cuts) -> tuple[FloatArray, FloatArray]:
    """Rows, and those of them on one side of each cut: below the cuts and then above them, each [1, 2 cuts]."""
    below = counts.cumsum(axis=-1)[cuts]
    rows = counts.sum(axis=-1)[cuts[0]]
    both = np.concatenate((below, rows - below))[np.newaxis]
    return np.concatenate((rows, rows))[np.newaxis], both


def _sum(one: Table, other: Table) -> Table:
    """Two tables of one profile; either may be empty."""
    if not one or not other:
        return one or other
    return [list(map(add, *rows)) for rows in zip(one, other, strict=True)]


def _later(before: tuple[float, float], *more: int) -> tuple[float, float]:
    first, second = (known * _KEPT + new for known, new in zip(before, more, strict=True))
    return first, second
