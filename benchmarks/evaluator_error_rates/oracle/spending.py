"""Which part of the error each look of a period may spend, and a gate by key from its windows alone.

The union bound needs no more than parts that add up to 1: seven great looks have three quarters of the error between
them, 64 looks at even distances .15, and those after the period, an eighth of it apart, a tenth: the a-th of them
1/(a(a+1)) of it. (Lan, DeMets, Biometrika 70, 1983, spend an error by looks as well, but by the joint law of all.)
"""

import itertools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from benchmarks.evaluator_error_rates.oracle.cohorts import Counted, log_one_in_p, total

_PERIOD: Final = Fraction(9, 10)
"""Where its last look is, in parts of the step's period."""
_LOOKS: Final = 64
_GREAT: Final = (2, 4, 8, 16, 32, 48, 64)


def look(number: int) -> tuple[Fraction, Fraction]:
    """When a look is, in parts of the period, and its part of the error; number: from 1 on."""
    if number <= _LOOKS:
        great = Fraction(3, 4 * len(_GREAT)) if number in _GREAT else Fraction(0)
        return _PERIOD * Fraction(number, _LOOKS), Fraction(15, 100 * _LOOKS) + great
    after = number - _LOOKS
    return _PERIOD * (1 + Fraction(after, 8)), Fraction(1, 10 * after * (after + 1))


@dataclass
class Side:
    """Harm, or that there is none.

    Attributes:
        line: a and b of it.
        harm: which of both.
        part: of the error, what a step may spend.
        now: ln(part/p) at the last look.
        best: the greatest so far, and no less than 0.
        saved: parts of looks without evidence.
    """

    line: tuple[float, float]
    harm: bool
    part: float
    now: float = 0.0
    best: float = 0.0
    saved: float = 0.0

    def judge(self, seen: Counted, part: float) -> None:
        """One look, which may spend so much."""
        found = log_one_in_p(seen, *self.line, harm=self.harm)
        self.saved += part
        if found is not None:
            self.now = math.log(self.saved * self.part) + found
            self.best, self.saved = max(self.best, self.now), 0.0


@dataclass
class KeyedGate:
    """A gate by key; see the methods' names.

    Attributes:
        cohorts: how many.
        harm: evidence of harm, judged without the `spare` windows that were worst for the test arm.
        safe: evidence of none, judged by all windows.
        spare: so many windows say nothing of harm.
        winner: `safe` is evidence of "better", which the `spare` windows that were worst for stable say nothing of.
    """

    cohorts: int
    harm: Side
    safe: Side
    spare: int
    winner: bool = False
    seen: list[Counted] = field(default_factory=list)
    mature: list[Counted] = field(default_factory=list)
    taken: int = 0
    present: float | None = None

    def window(self, one: Counted, at: Fraction) -> None:
        """A window that ends at such a part of the period; looks that are due together are one."""
        self.seen.append(one)
        self.mature.append(one)
        shows = without_the_worst(self.mature, self.spare, sign=-1) if self.winner else self.mature
        self.present = log_one_in_p(total(shows, self.cohorts), *self.safe.line, harm=False)
        due = list(itertools.takewhile(lambda number: look(number)[0] <= at, itertools.count(self.taken + 1)))
        if due:
            self.taken = due[-1]
            part = float(sum(look(number)[1] for number in due))
            self.harm.judge(total(without_the_worst(self.seen, self.spare), self.cohorts), part)
            self.safe.judge(total(shows, self.cohorts), part)

    def other_split(self) -> None:
        """What was counted was of other keys; what it has shown stays."""
        self.seen, self.mature, self.present, self.harm.now = [], [], None, 0.0

    def restart(self) -> None:
        """That it is safe is to be shown anew."""
        self.mature, self.present, self.safe.now, self.safe.best = [], None, 0.0, 0.0

    def new_step(self, spare: int) -> None:
        """The looks of another period are before it."""
        self.taken, self.spare, self.harm.saved, self.safe.saved = 0, spare, 0.0, 0.0

    @property
    def shown(self) -> float:
        """ln E that it is safe: at the best look, as far as the present counts agree."""
        return 0.0 if self.present is None else min(self.safe.best, self.present)


def without_the_worst(windows: list[Counted], spare: int, sign: int = 1) -> list[Counted]:
    """All but the `spare` windows that were worst for the test arm; sign: -1 for those that were worst for stable."""
    order = sorted(range(len(windows)), key=lambda place: -sign * windows[place].excess)
    left_out = {place for place in order[:spare] if sign * windows[place].excess > 0.0}
    return [one for place, one in enumerate(windows) if place not in left_out]
