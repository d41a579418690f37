"""Selection: whether the rows of one kind get labels more often than all others, stratum by stratum.

Under the null the labels of a stratum are drawn from its rows without regard to their kind, so that those of one kind
are hypergeometric (Mantel, Haenszel, 1959). Strata may have labels in any share: where labels come late, or the kinds'
mix changes with time, nothing stands out for that. The sum of what the kind has beyond its expectation is held against
a mixture of normal alternatives (Robbins, 1970; Howard, Ramdas, arXiv:1906.09712), so that it may be looked at all the
time; it is near enough to normal, for alternatives are spread over hundreds of rows.
"""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

_SPREAD: Final = 10.0
"""Variance of the sum at which the mixture is the most sensitive: some 40 labels of half of the rows."""


class Stratum(NamedTuple):
    """Rows of the kind and of all others, and those among them that have labels."""

    kind: int
    others: int
    kind_labelled: int
    others_labelled: int


class Selection(NamedTuple):
    """How labels reach a kind of rows.

    Attributes:
        ratio: how often rows of the kind have labels, over how often all others have; 1: alike, or nothing is known.
        moved: by how much the kind's share among labelled rows differs from its share among all rows.
        log_e: log evidence that labels are not drawn without regard to the kind.
        errors: how many standard errors the labelled rows of the kind are from what is expected of them, by this look
            alone: no evidence where looks are many, but for what a later look may undo.
    """

    ratio: float
    moved: float
    log_e: float
    errors: float = 0.0


def selection(strata: Iterable[Stratum], effect: float = 1.0) -> Selection:
    """Return how labels reach a kind of rows.

    strata: each with labels that were drawn by themselves. effect: the design effect of labels, at least 1: as many
    rows of one request may get their labels together.
    """
    beyond = variance = kind = others = labelled = 0.0
    for one in strata:
        rows, labels = one.kind + one.others, one.kind_labelled + one.others_labelled
        if rows < 2 or not (one.kind and one.others and labels):
            continue
        beyond += one.kind_labelled - one.kind * labels / rows
        # A process that is gone has taken predictions along, and none of the labels.
        unlabelled = max(rows - labels, 0)
        variance += one.kind * one.others / (rows * rows) * labels * unlabelled / (rows - 1)
        kind += one.kind_labelled * one.others / rows
        others += one.others_labelled * one.kind / rows
        labelled += labels
    if not labelled:
        return Selection(1.0, 0.0, 0.0)
    ratio = kind / others if others else math.inf
    spread = _SPREAD * effect
    whole = variance * effect + spread
    log_e = 0.5 * math.log(spread / whole) + 0.5 * beyond * beyond / whole
    errors = abs(beyond) / math.sqrt(variance * effect) if variance else 0.0
    return Selection(ratio, abs(beyond) / labelled, log_e, errors)
