"""Sample ratio: whether the arms got the shares that were in force.

The Bayes factor of a Dirichlet prior around the shares against the shares themselves. Under the null, that each request
was drawn by the shares, it is a martingale from 1, so that it may be looked at all the time (Lindon, Malek,
arXiv:2011.03567).
"""

import math
from collections.abc import Sequence
from typing import Final

from evaluator.statistics.process import log_threshold

ALPHA: Final = 0.001
_CONCENTRATION: Final = 1_000.0
"""Requests that the prior weighs as much as: it expects shares of 5 % to be off by some .7 points."""


def log_evidence(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return ln E that the counts were not drawn by the shares, which add up to 1; of one arm alone it is 0.

    Infinity: an arm without a share got requests. Raises ValueError for arms that differ in number.
    """
    if len(counts) != len(shares):
        raise ValueError(f"{len(counts)} counts and {len(shares)} shares")
    if any(count for count, share in zip(counts, shares, strict=True) if not share):
        return math.inf
    total = sum(counts)
    log_e = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + total)
    for count, share in zip(counts, shares, strict=True):
        if share:
            weight = _CONCENTRATION * share
            log_e += math.lgamma(weight + count) - math.lgamma(weight) - count * math.log(share)
    return log_e


def is_broken(log_e: float) -> bool:
    """Whether the evidence is enough."""
    return log_e >= log_threshold(ALPHA)
