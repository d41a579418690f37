"""How alike the rows of one request are, and what that takes from their evidence.

A request of many rows (one user's basket, one camera's frames) is right or wrong in many of them together, while the
tests of rates take rows to be drawn one by one. With n_r labelled rows and x_r wrong ones in request r and the rate R
of all of them, requests vary by sum((x_r - R n_r)^2), and independent rows would by n R (1 - R): the ratio is the
design effect (`statistics.design_effect`). A test's log e-values are divided by it, which leaves their expectation
where it was as long as sums over requests are near enough to normal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import add
from typing import Final

import numpy as np

from evaluator.arms import ALIKE, ALIKE_ANSWERS, PREDICTIONS, is_stable, is_test, series_of
from evaluator.counts import Counts
from evaluator.labels import Labels, SliceCounts
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.design_effect import ENOUGH_REQUESTS, requests_like, variations
from evaluator.terms import Terms
from services.common.telemetry.catalog import ALIKE_PRODUCTS, ALIKE_SUMS

_ENOUGH_ROWS: Final = 100
"""Of a class with fewer rows nothing is known by itself."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Labelled rows of one arm.

    Attributes:
        rows: n, of all requests.
        wrong: x.
        squares: over requests, the sums of n_r n_r, x_r n_r and x_r x_r.
    """

    rows: int = 0
    wrong: int = 0
    squares: tuple[int, int, int] = (0, 0, 0)

    def plus(self, labels: Iterable[Labels], squares: tuple[int, int, int]) -> "Sums":
        """With a look's counts."""
        known = list(labels)
        a, b, c = (one + more for one, more in zip(self.squares, squares, strict=True))
        rows, wrong = sum(one.rows for one in known), sum(one.wrong for one in known)
        return Sums(self.rows + rows, self.wrong + wrong, (a, b, c))

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

    def plus(self, window: Counts, terms: Terms, counted: Iterable[SliceCounts]) -> "Alike":
        """With a look's counts, of which `counted` are the labels."""
        slices = list(counted)
        squares = {True: (0, 0, 0), False: (0, 0, 0)}
        for instance in window:
            for one, at in series_of(instance, ALIKE):
                test = is_test(at, terms)
                # Older Routers count them of no slice, and so of other labels than those beside them.
                if "slice" in at and (test or is_stable(at, terms)):
                    sums = one.by_label
                    a, b, c = (known + sums.get(name, 0) for known, name in zip(squares[test], ALIKE_SUMS, strict=True))
                    squares[test] = (a, b, c)
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
            return max(1.0, products / rows) if rows else 1.0
        (test, test_alone), (stable, stable_alone) = self.test.variation, self.stable.variation
        alone = test_alone + stable_alone
        return max(1.0, (test + stable) / alone) if alone > 0.0 else 1.0

    @property
    def careful(self) -> float:
        """The design effect; where all rows are right, or all wrong, as if those of a request always were together."""
        rows, wrong = self.test.rows + self.stable.rows, self.test.wrong + self.stable.wrong
        if 0 < wrong < rows or not rows:
            return self.effect
        return max(1.0, (self.test.squares[0] + self.stable.squares[0]) / rows)


Classes = tuple[int, ...]
"""A count per declared class, and last one of all other predictions."""


@dataclass(frozen=True, slots=True)
class AlikeAnswers:
    """Both arms' predictions by their requests; of each arm by class.

    Attributes:
        rows: predicted rows of the test and of the stable arm.
        own: over requests of several rows, k (k - 1) for the k rows of the class.
        every: likewise k (n - 1) for the n rows of the request.
    """

    rows: tuple[Classes, Classes] = ((), ())
    own: tuple[Classes, Classes] = ((), ())
    every: tuple[Classes, Classes] = ((), ())

    def plus(self, window: Counts, terms: Terms) -> "AlikeAnswers":
        """With a look's counts."""
        nothing = (0,) * (len(terms.declared) + 1)
        rows, own, every = ([part or nothing for part in known] for known in (self.rows, self.own, self.every))
        product_own, product_every = ALIKE_PRODUCTS
        for instance in window:
            for one, at in (*series_of(instance, PREDICTIONS), *series_of(instance, ALIKE_ANSWERS)):
                arm = 0 if is_test(at, terms) else 1 if is_stable(at, terms) else None
                into = {None: rows, product_own: own, product_every: every}.get(at.get("product"))
                if arm is not None and into is not None:
                    by_class = one.by_label
                    counts = [by_class.get(name, 0) for name in terms.declared]
                    into[arm] = tuple(map(add, into[arm], (*counts, sum(one.counts) - sum(counts))))
        return AlikeAnswers((rows[0], rows[1]), (own[0], own[1]), (every[0], every[1]))

    def effects(self, classes: int) -> FloatArray:
        """The design effect of each class's predictions, (classes): of one with few of them, that of all together."""
        varied, alone, seen = (np.zeros(classes + 1) for _ in range(3))
        products = 0.0
        for rows, own, every in zip(self.rows, self.own, self.every, strict=True):
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
        together = max(1.0, float(varied.sum() / alone.sum()))
        known = (alone > 0) & (seen >= _ENOUGH_ROWS)
        apart = np.divide(varied, alone, out=np.full(classes + 1, together), where=known)
        effects: FloatArray = np.maximum(apart, 1.0)[:classes]
        return effects
