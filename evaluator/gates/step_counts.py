"""What a gate on rates has counted since its step began: by which the end of the period judges it once more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

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

    @property
    def stable_rate(self) -> float:
        """Stable's rate; 0 where it has nothing."""
        return self.x_stable / self.n_stable if self.n_stable else 0.0

    def plus(self, rows: Iterable[RateRow]) -> "StepCounts":
        """With a look's windows."""
        n_test, x_test, n_stable, x_stable = self.n_test, self.x_test, self.n_stable, self.x_stable
        weight, difference = self.weight, self.difference
        for n_c, x_c, n_s, x_s in rows:
            if not n_c:
                continue
            n_test, x_test, n_stable, x_stable = n_test + n_c, x_test + x_c, n_stable + n_s, x_stable + x_s
            weight += n_c * n_s / (n_c + n_s)
            difference += (x_c * n_s - x_s * n_c) / (n_c + n_s)
        return StepCounts(n_test, x_test, n_stable, x_stable, weight, difference)

    def exceeds(self, limit: float) -> bool:
        """Whether the test arm's rate is beyond a number."""
        return self.x_test > limit * self.n_test

    def is_beyond(self, offset: float, factor: float) -> bool:
        """Whether it is beyond the line offset + factor * stable's rate."""
        return self.difference > (offset + (factor - 1.0) * self.stable_rate) * self.weight


NO_COUNTS: Final = StepCounts()
"""When a step begins."""
