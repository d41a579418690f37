"""What a window says of both arms' inputs, each by its own profile."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Final

from evaluator.terms import Profile
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import (
    FORMER_INPUTS,
    INPUTS_ELSEWHERE,
    OF_INPUTS,
    SAME_INPUTS,
    is_of,
)
from evaluator.window.counts import Series
from services.common.telemetry.catalog import ALIKE_PRODUCTS

Table = list[list[int]]
"""A number by feature and bin, in a profile's order."""
_OWN: Final = (*OF_INPUTS, *FORMER_INPUTS)
"""Inputs by a version's own profile, whichever release recorded them."""


@dataclass(frozen=True, slots=True)
class BinRows:
    """One look's rows of one arm.

    Attributes:
        rows: in each bin.
        own: over requests of several rows, k (k - 1) for the k rows in a bin or in one before it; empty: there were no
            such requests, or nobody has counted them.
        every: likewise k (n - 1) for the n rows of the request.
    """

    rows: Table
    own: Table = field(default_factory=list)
    every: Table = field(default_factory=list)


def input_rows(counted: ArmCounts) -> tuple[BinRows, BinRows]:
    """Both arms' inputs, test and stable; what a profile does not know is left out."""
    profiles = counted.terms.test_profile, counted.terms.stable_profile
    test, stable = map(_Arm, profiles)
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(*_OWN):
            if is_test and is_of(profiles[0], at):
                test.add(one, at)
            elif is_stable and is_of(profiles[1], at):
                stable.add(one, at)
    return test.rows, stable.rows


def same_rows(counted: ArmCounts, instances: Container[str]) -> tuple[BinRows, BinRows]:
    """Both arms' inputs by the stable version's profile; none of the test arm's where nobody counts them by it.

    Args:
        counted: of the look.
        instances: whose counts are compared.
    """
    profile = counted.terms.stable_profile
    test, stable = _Arm(profile), _Arm(profile)
    for process in counted.processes:
        if process.instance_id not in instances:
            continue
        for one, at, _, _ in process.of(SAME_INPUTS):
            test.add(one, at)
        for one, at, _, is_stable in process.of(*_OWN):
            if is_stable and is_of(profile, at):
                stable.add(one, at)
    return test.rows, stable.rows


def has_other_lanes(counted: ArmCounts) -> bool:
    """Whether a release before this one counted inputs of other lanes' requests among either arm's."""
    return any(any(one.series.counts) for process in counted.processes for one in process.of(INPUTS_ELSEWHERE))


class _Arm:
    """Adds up the series of an arm; a product of which there is no series stays empty."""

    def __init__(self, profile: Profile | None) -> None:
        self._profile = profile
        self._tables: dict[str | None, dict[str, list[int]]] = {None: self._zeros()}

    @property
    def rows(self) -> BinRows:
        own, every = (list(self._tables.get(product, {}).values()) for product in ALIKE_PRODUCTS)
        return BinRows(list(self._tables[None].values()), own, every)

    def add(self, one: Series, at: Mapping[str, str]) -> None:
        product = at.get("product")
        table = self._tables.get(product)
        if table is None:
            table = self._tables[product] = self._zeros()
        row = table.get(at.get("feature", ""), [])
        if one.labels == _LABELS[: len(row)]:
            row[:] = map(add, row, one.counts)
            return
        for label, count in zip(one.labels, one.counts, strict=True):
            number = _BINS.get(label, _MOST_BINS)
            if number < len(row):
                row[number] += count

    def _zeros(self) -> dict[str, list[int]]:
        features = self._profile.features if self._profile else ()
        return {feature.name: [0] * len(feature.proportions) for feature in features}


_MOST_BINS: Final = 1_024
_LABELS: Final = tuple(str(number) for number in range(_MOST_BINS))
_BINS: Final = {label: number for number, label in enumerate(_LABELS)}
"""Bins by their labels: a look reads thousands of them, those of ten bins in their order."""
