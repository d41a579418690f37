"""How alike the rows of one request are, and what that takes from their evidence.

A request of many rows (one user's basket, one camera's frames) is right or wrong in many of them together, while the
tests of rates take rows to be drawn one by one. With n_r labelled rows and x_r wrong ones in request r and the rate R
of all of them, requests vary by sum((x_r - R n_r)^2), and independent rows would by n R (1 - R): the ratio is the
design effect (`statistics.design_effect`). A test's log e-values are divided by it, which leaves their expectation
where it was as long as sums over requests are near enough to normal.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import add
from typing import Final, NamedTuple

import numpy as np

from evaluator.statistics.counts import FloatArray
from evaluator.statistics.design_effect import (
    ENOUGH_REQUESTS,
    effect_of,
    requests_like,
    variations,
    weight_of_past,
)
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import ALIKE, ALIKE_ANSWERS, PREDICTIONS
from evaluator.window.labels import Labels, SliceCounts
from services.common.telemetry.catalog import ALIKE_PRODUCTS, ALIKE_SUMS

_ENOUGH_ROWS: Final = 100
"""Of a class with fewer rows nothing is known by itself."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Labelled rows of one arm, the older ones with less weight.

    Attributes:
        rows: n, of all requests.
        wrong: x.
        squares: over requests, the sums of n_r n_r, x_r n_r and x_r x_r.
    """

    rows: float = 0
    wrong: float = 0
    squares: tuple[float, float, float] = (0, 0, 0)

    def plus(self, labels: Iterable[Labels], squares: tuple[int, int, int]) -> "Sums":
        """With a look's counts."""
        known, weight = list(labels), weight_of_past(self.rows, self.squares[0])
        a, b, c = (one * weight + more for one, more in zip(self.squares, squares, strict=True))
        rows, wrong = sum(one.rows for one in known), sum(one.wrong for one in known)
        return Sums(self.rows * weight + rows, self.wrong * weight + wrong, (a, b, c))

    @property
    def variation(self) -> tuple[float, float]:
        """How much requests vary, and how much independent rows would."""
        if not self.rows:
            return 0.0, 0.0
        rate = self.wrong / self.rows
        rows_rows, wrong_rows, wrong_wrong = self.squares
        varied = wrong_wrong - 2.0 * rate * wrong_rows + rate * rate * rows_rows
        return varied, self.rows * rate * (1.0 - rate)


@dataclass(frozen=True, slots=True)
class Alike:
    """Both arms' labelled rows by their requests."""

    test: Sums = Sums()
    stable: Sums = Sums()

    def plus(self, counted: ArmCounts, labels: Iterable[SliceCounts]) -> "Alike":
        """With a look's counts, and its labels by slice."""
        slices = list(labels)
        squares = {True: (0, 0, 0), False: (0, 0, 0)}
        for process in counted.processes:
            for one, at, is_test, is_stable in process.of(ALIKE):
                # Older Routers count them of no slice, and so of other labels than those beside them.
                if "slice" in at and (is_test or is_stable):
                    sums = one.by_label
                    a, b, c = (
                        known + sums.get(name, 0) for known, name in zip(squares[is_test], ALIKE_SUMS, strict=True)
                    )
                    squares[is_test] = (a, b, c)
        return Alike(
            self.test.plus((one.test for one in slices), squares[True]),
            self.stable.plus((one.stable for one in slices), squares[False]),
        )

    @property
    def effect(self) -> float:
        """The design effect of labelled rows; 1: they say as much as if each came by itself, or nothing is known."""
        rows = self.test.rows + self.stable.rows
        products = self.test.squares[0] + self.stable.squares[0]
        if requests_like(rows, products) < ENOUGH_REQUESTS:
            return self.together
        (test, test_alone), (stable, stable_alone) = self.test.variation, self.stable.variation
        return effect_of(test + stable, test_alone + stable_alone)

    @property
    def together(self) -> float:
        """Labelled rows of a labelled row's own request: by so many together labels may come."""
        rows = self.test.rows + self.stable.rows
        return max(1.0, (self.test.squares[0] + self.stable.squares[0]) / rows) if rows else 1.0

    @property
    def careful(self) -> float:
        """The design effect; where all rows are right, or all wrong, as if those of a request always were together."""
        rows, wrong = self.test.rows + self.stable.rows, self.test.wrong + self.stable.wrong
        if 0 < wrong < rows or not rows:
            return self.effect
        return self.together


Classes = tuple[float, ...]
"""A sum per declared class, and last one of all other predictions."""


class Answered(NamedTuple):
    """Predictions of one arm; each a number per declared class, and last that of all others.

    Attributes:
        rows: predicted rows.
        own: over requests of several rows, k (k - 1) for the k rows of the class.
        every: likewise k (n - 1) for the n rows of the request.
    """

    rows: Classes = ()
    own: Classes = ()
    every: Classes = ()

    def plus(self, more: "Answered") -> "Answered":
        """With a look's, before which the older ones lose weight."""
        if not self.rows:
            return more
        weight = weight_of_past(sum(self.rows), sum(self.every) + sum(self.rows))
        sums = (
            tuple(one * weight + other for one, other in zip(*pair, strict=True))
            for pair in zip(self, more, strict=True)
        )
        return Answered(*sums)


@dataclass(frozen=True, slots=True)
class AlikeAnswers:
    """Both arms' predictions by their requests, the older ones with less weight."""

    test: Answered = field(default_factory=Answered)
    stable: Answered = field(default_factory=Answered)

    def plus(self, counted: ArmCounts) -> "AlikeAnswers":
        """With a look's counts."""
        test, stable = answers_of(counted)
        return AlikeAnswers(self.test.plus(test), self.stable.plus(stable))

    @property
    def together(self) -> float:
        """Rows of a row's own request, of the test arm's predictions: no rows say less of a request than so many do."""
        rows = sum(self.test.rows)
        return 1.0 + sum(self.test.every) / rows if rows else 1.0

    def effects(self, classes: int) -> FloatArray:
        """The design effect of each class's predictions, (classes): of one with few of them, that of all together."""
        varied, alone, seen = (np.zeros(classes + 1) for _ in range(3))
        products = 0.0
        for rows, own, every in (self.test, self.stable):
            k = np.array(rows, dtype=np.float64)
            total = float(k.sum())
            if not total:
                continue
            with_all = np.array(every, dtype=np.float64)
            squares = float((with_all + k).sum())
            more = variations(k, np.array(own, dtype=np.float64), with_all, total, squares)
            varied, alone = varied + more[0], alone + more[1]
            seen += k
            products += squares
        if requests_like(float(seen.sum()), products) < ENOUGH_REQUESTS:
            return np.full(classes, max(1.0, products / float(seen.sum())))
        if not alone.any():
            return np.ones(classes)
        together = effect_of(float(varied.sum()), float(alone.sum()))
        known = (alone > 0) & (seen >= _ENOUGH_ROWS)
        apart = np.divide(varied, alone, out=np.full(classes + 1, together), where=known)
        effects: FloatArray = np.maximum(apart, 1.0)[:classes]
        return effects


def answers_of(counted: ArmCounts) -> tuple[Answered, Answered]:
    """What a look counts of the predictions of the test and of the stable arm, by class."""
    nothing = (0,) * (len(counted.terms.declared) + 1)
    found = [[nothing] * 3, [nothing] * 3]
    places: dict[str | None, int] = {product: place for place, product in enumerate((None, *ALIKE_PRODUCTS))}
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(PREDICTIONS, ALIKE_ANSWERS):
            arm = 0 if is_test else 1 if is_stable else None
            place = places.get(at.get("product"))
            if arm is not None and place is not None:
                by_class = one.by_label
                counts = [by_class.get(name, 0) for name in counted.terms.declared]
                more = (*counts, sum(one.counts) - sum(counts))
                found[arm][place] = tuple(map(add, found[arm][place], more))
    test, stable = (Answered(*tables) for tables in found)
    return test, stable
