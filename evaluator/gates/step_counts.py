"""What a gate on rates has counted since its step began: by which the end of the period judges it once more."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from scipy.special import ndtri

from evaluator.window.labels import RateRow


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Attempts or labels of both arms in the windows that had any of the test arm.

    Attributes:
        n_test, x_test: of the test arm, and those of them that failed or were wrong.
        n_stable, x_stable: of stable.
        weight: sum of n_test n_stable / (n_test + n_stable) over the windows.
        difference: sum of that times the difference of the window's rates (Mantel, Haenszel), so that a rise which both
            arms share while the share changes is none.
    """

    n_test: int = 0
    x_test: int = 0
    n_stable: int = 0
    x_stable: int = 0
    weight: float = 0.0
    difference: float = 0.0
    variance_test: float = 0.0
    variance_stable: float = 0.0

    @property
    def stable_rate(self) -> float:
        """Stable's rate; 0 where it has nothing."""
        return self.x_stable / self.n_stable if self.n_stable else 0.0

    def plus(self, rows: Iterable[RateRow]) -> "StepCounts":
        """With a look's windows."""
        n_test, x_test, n_stable, x_stable = self.n_test, self.x_test, self.n_stable, self.x_stable
        weight, difference = self.weight, self.difference
        variance_test, variance_stable = self.variance_test, self.variance_stable
        for n_c, x_c, n_s, x_s in rows:
            if not n_c:
                continue
            n_test, x_test, n_stable, x_stable = n_test + n_c, x_test + x_c, n_stable + n_s, x_stable + x_s
            own = n_c * n_s / (n_c + n_s)
            weight += own
            difference += (x_c * n_s - x_s * n_c) / (n_c + n_s)
            both = _variance(n_c + n_s, x_c + x_s)
            variance_test += own * own * _variance(n_c, x_c, both) / n_c
            variance_stable += own * own * _variance(n_s, x_s, both) / n_s if n_s else 0.0
        return StepCounts(n_test, x_test, n_stable, x_stable, weight, difference, variance_test, variance_stable)

    def exceeds(self, limit: float) -> bool:
        """Whether the test arm's rate is beyond a number."""
        return self.x_test > limit * self.n_test

    def is_beyond(self, offset: float, factor: float) -> bool:
        """Whether it is beyond the line offset + factor * stable's rate."""
        return self.difference > self._allowed(offset, factor)

    def is_near(self, offset: float, factor: float, alpha: float, effect: float) -> bool:
        """Whether "beyond that line" cannot be rejected at level alpha, by one test of all that was counted.

        That is for the end of a period, a time that nobody chose by what was seen. Windows whose rates were other than
        usual weigh what they weigh; no bet on the past was lost by them.

        Args:
            offset: of the line.
            factor: likewise.
            alpha: the level.
            effect: of rows of one request that are alike, on the variance.
        """
        variance = (self.variance_test + factor * factor * self.variance_stable) * effect
        return self.difference + _deviations(alpha) * math.sqrt(variance) > self._allowed(offset, factor)

    def is_near_limit(self, limit: float, alpha: float, effect: float) -> bool:
        """Likewise of a number that the test arm's rate is held against."""
        deviation = math.sqrt(self.n_test * limit * (1.0 - limit) * effect) if 0.0 < limit < 1.0 else 0.0
        return self.x_test + _deviations(alpha) * deviation > limit * self.n_test

    def _allowed(self, offset: float, factor: float) -> float:
        """The difference at the line."""
        return (offset + (factor - 1.0) * self.stable_rate) * self.weight


def _variance(n: int, x: int, otherwise: float = 0.0) -> float:
    """Of one row, from n of which x were bad, without bias; `otherwise`: where one row alone says nothing of it."""
    return x * (n - x) / (n * (n - 1)) if n > 1 else otherwise


def _deviations(alpha: float) -> float:
    return -float(ndtri(alpha))


NO_COUNTS: Final = StepCounts()
"""When a step begins."""
