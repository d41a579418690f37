"""A gate on every class of a model: harm to any of them is harm, and only what is safe for all of them is safe."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluator.gates.rates import RateGate, rate_gate
from evaluator.statistics.confusion import f1_from_unlike
from evaluator.statistics.process import log_sum_exp
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate


@dataclass(frozen=True, slots=True)
class Together:
    """Evidence of several tests as one."""

    log_e: float = 0.0
    max_log_e: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class EachClassGate:
    """Evidence of one gate per class, taken together.

    The average of the classes' e-values is an e-value of "no class is worse", however they depend on one another; its
    price is ln K of evidence, and no class can be lost among the others as it can in a macro average. Each is capped at
    a look, and so is their average: three looks must agree at least, and for one class among ten alone five.

    Attributes:
        gate: what it watches.
        parts: one gate per class, in the order of the version's classes.
        harm: the average over the parts, and the greatest that it was.
    """

    gate: Gate
    parts: tuple[RateGate, ...]
    harm: Together = Together()

    @classmethod
    def open(cls, gate: Gate, alpha: float, classes: Sequence[str], agreeing: int = 3) -> "EachClassGate":
        """The gate without evidence.

        Args:
            gate: what it watches.
            alpha: the probability with which it may roll back a version as good as stable.
            classes: at least one.
            agreeing: looks that must agree on the harm of one class at least.
        """
        return cls(gate, tuple(rate_gate(replace(gate, positive=name), alpha, agreeing) for name in classes))

    @property
    def safe(self) -> Together:
        """Evidence that no class is worse, since the step's start: all must show it, so the least of the parts."""
        least = min(part.safe.log_e for part in self.parts)
        return Together(least, least)

    @property
    def shown(self) -> RateGate:
        """The class that people are shown: the one with most harm, or the one that safety waits for."""
        harmed = max(self.parts, key=lambda part: part.harm.max_log_e)
        return harmed if self.harm.max_log_e > 0 else self.awaited

    @property
    def awaited(self) -> RateGate:
        """The class that safety waits for."""
        return min(self.parts, key=lambda part: part.safe.log_e)

    def averages(self) -> tuple[float, float]:
        """The metric averaged over the classes (its macro average), of the test and of the stable arm.

        For people's eyes: a class that is lost among ten hardly moves it. NaN: an arm has nothing of some class.
        """
        value = _f1 if self.gate.metric is MetricKind.F1 else _right
        test = (value(part.seen.test_rate) for part in self.parts)
        stable = (value(part.seen.stable_rate) for part in self.parts)
        return sum(test) / len(self.parts), sum(stable) / len(self.parts)

    @property
    def test_n(self) -> int:
        """What was judged of the test arm, of the class that is shown."""
        return self.shown.test_n

    @property
    def step_n(self) -> int:
        """What `safe` has compared in this step, of the class that lacks most."""
        return self._thinnest.step_n

    @property
    def thinnest(self) -> str:
        """The class that lacks most."""
        return self._thinnest.gate.positive

    @property
    def needs(self) -> float | None:
        """What that class needs; None: it is not known yet of some class."""
        return None if any(part.needs is None for part in self.parts) else self._thinnest.needs

    @property
    def _thinnest(self) -> RateGate:
        return min(self.parts, key=lambda part: part.step_n / (part.needs or math.inf))

    def each(self, change: Callable[[RateGate], RateGate]) -> "EachClassGate":
        """The gate after a change of each part."""
        return self.having([change(part) for part in self.parts])

    def having(self, parts: Sequence[RateGate]) -> "EachClassGate":
        """The gate after a change of its parts."""
        log_e = float(log_sum_exp(np.array([part.harm.log_e for part in parts]))) - math.log(len(parts))
        return replace(self, parts=tuple(parts), harm=Together(log_e, max(self.harm.max_log_e, log_e)))

    def restart(self) -> "EachClassGate":
        """The gate with fresh evidence of non-inferiority."""
        return self.each(lambda part: part.restart())

    def freeze(self, alpha: float, power: float, share: float) -> "EachClassGate":
        """The gate with `needs` of each part, once stable's past says what it takes."""
        return self.each(lambda part: part.freeze(alpha / len(self.parts), power, share))

    @property
    def unsafe(self) -> bool:
        """Whether the version stands beyond its safe margin for some class, by all that was counted in this step."""
        return any(part.unsafe for part in self.parts)

    def is_near_margin(self, alpha: float) -> bool:
        """Whether one test at level alpha does not show the version to be safe, for some class: no error is shared."""
        return any(part.is_near_margin(alpha) for part in self.parts)

    def renew(self, alpha: float, power: float) -> "EachClassGate":
        """The gate with more `needs` of the parts for which this step asks for more."""
        return self.each(lambda part: part.renew(alpha / len(self.parts), power))

    def remaining(self, alpha: float, share: float) -> int | None:
        """Forecast: of the class that waits longest; None: unknown."""
        found = [part.remaining(alpha, share) for part in self.parts]
        known = [one for one in found if one is not None]
        return max(known) if len(known) == len(found) else None


def _right(rate: float) -> float:
    return 1.0 - rate


def _f1(rate: float) -> float:
    return rate if math.isnan(rate) else f1_from_unlike(rate)
