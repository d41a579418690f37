"""The watch over one arm's inputs: the alarm, and the end of a drift.

What a look brought beyond its cap is given away by the bets that have begun or begin with the next look; what waits for
later ones keeps its wealth.
"""

import math
from collections.abc import Sequence

from benchmarks.evaluator_error_rates.oracle.mixture import log_mixture

_INCREMENTS = (0.03, 0.08, 0.2)
_RETREATS = (0.25, 0.5, 1.0)
_RESERVE = 0.5

Look = Sequence[Sequence[int]]
"""Rows by bin, of each feature."""


class Watch:
    """One arm against a profile.

    Args:
        shares: of the profile, by bin, of each feature.
        rows: that it was made of.
        tolerance: by how much a feature may move.
        alpha: probability of a false alarm.
        cap: by how much one look may raise ln E towards an alarm, from where it was or from 0.
    """

    def __init__(
        self, shares: Sequence[Sequence[float]], rows: int, tolerance: float, alpha: float, cap: float = math.inf
    ) -> None:
        self._shares = shares
        self._distance = tolerance + math.sqrt(math.log(2.0 / alpha) / (2.0 * rows))
        self._alpha = alpha
        self._cap = cap
        self._phase: list[tuple[Look, Sequence[float]]] = []
        self._given: list[float] = []
        self._before = 0.0
        self.drifted = False

    def log_e(self, look: Look, effects: Sequence[float]) -> float:
        """ln E after one more look; at an alarm, and at a drift's end, the next phase begins and it is 0 again.

        Args:
            look: its rows.
            effects: how many times the variance of independent rows each feature's is.
        """
        if any(any(row) for row in look):
            self._phase.append((look, effects))
            self._given.append(0.0)
        elif self._phase:
            return self._before
        found = self._combined() if self._phase else 0.0
        excess = found - max(self._before, 0.0) - self._cap
        if excess > 0.0 and not self.drifted:
            self._given[-1] = excess
            found -= excess
        self._before = found
        if found >= -math.log(self._alpha):
            self.drifted = not self.drifted
            self._phase, self._given, self._before = [], [], 0.0
        return self._before

    def _combined(self) -> float:
        features = [list(filter(None, self._sides(number))) for number in range(len(self._shares))]
        tested = [sides for sides in features if sides]
        if not tested:
            return 0.0
        if self.drifted:
            return math.log(min(min(sides) for sides in tested))
        return math.log(math.fsum(math.fsum(sides) / len(sides) for sides in tested) / len(tested))

    def _sides(self, feature: int) -> list[float]:
        """E of every cut and side of a feature that can be tested."""
        shares = self._shares[feature]
        found = []
        for cut in range(1, len(shares)):
            for side in (slice(0, cut), slice(cut, None)):
                expected = math.fsum(shares[side]) / math.fsum(shares)
                looks = [(sum(at[feature][side]), sum(at[feature]), by[feature]) for at, by in self._phase]
                found.append(self._one(expected, looks))
        return found

    def _one(self, expected: float, looks: Sequence[tuple[int, int, float]]) -> float:
        bound = expected + self._distance
        if bound >= 1.0:
            return 0.0
        if self.drifted:
            rates = [bound - min(self._distance * part, 0.5 * bound) for part in _RETREATS]
        else:
            rates = [bound + min(step, 0.5 * (1.0 - bound)) for step in _INCREMENTS]
        gains = [
            [(x * math.log(rate / bound) + (n - x) * math.log((1 - rate) / (1 - bound))) / by for rate in rates]
            for x, n, by in looks
        ]
        return math.exp(log_mixture([1.0] * len(rates), gains, _RESERVE, self._given))
