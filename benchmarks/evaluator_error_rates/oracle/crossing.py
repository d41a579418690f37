"""How often a score ever crosses bounds at looks of which each has all that those before it had.

Under the null a sum of independent increments is normal, its variance the information I_k of the looks so far, and
divided by its root it is the score z_k. The density of those that have crossed no bound is carried from look to look,
at the nodes of a Gauss-Legendre rule (Armitage, McPherson, Rowe, Journal of the Royal Statistical Society A 132, 1969).
What one key sends goes on as it was, so that keys that differ leave less that is new: a sum with a part that grows by
t, of variance `alike` t^2, is as correlated over looks as one of information t/(1 + alike t).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

_FURTHEST: Final = 9.0
"""Scores below it have no weight that matters."""


def information(times: Sequence[float], alike: float) -> list[float]:
    """Of looks at those times, of keys that differ by so much."""
    return [time / (1.0 + alike * time) for time in times]


def crossed(informations: Sequence[float], bounds: Sequence[float], nodes: int = 800) -> float:
    """The probability that a score is ever above its look's bound; infinite: it has none."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    before, density, found, known = np.zeros(1), np.ones(1), 0.0, 0.0
    for have, bound in zip(informations, bounds, strict=True):
        new, root = math.sqrt(have - known), math.sqrt(have)
        edge = min(bound, _FURTHEST) * root
        beyond = [0.5 * math.erfc(gap) for gap in ((bound * root - before) / (new * math.sqrt(2.0))).tolist()]
        found += float((density * beyond).sum())
        half = 0.5 * (edge + _FURTHEST * root)
        sums = edge - half + half * points
        steps = np.exp(-0.5 * ((sums[:, np.newaxis] - before) / new) ** 2) / (new * math.sqrt(2.0 * math.pi))
        before, density, known = sums, half * weights * (steps * density).sum(axis=1), have
    return found
