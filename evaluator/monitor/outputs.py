"""What classes a version answers, and how far their shares swing while it stays as it is.

A lane gets other requests by night than by day. Held against the mean of its first day, a version would stand out every
night. So its past is known by stretches as well: a class may be answered as seldom, or as often, as in any of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from evaluator.monitor.past import ENOUGH_ANSWERS
from evaluator.statistics.design_effect import requests_like
from evaluator.terms import Feature, Profile
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_SAFE

OUTPUTS: Final = "outputs"
STRETCHES: Final = 24
"""Parts of the time for which the past is learnt: hours, by default."""
_BEYOND_CHANCE: Final = 3.0
"""Standard errors that a stretch is off by for nothing: of 24 and two classes one in ten pasts has such a stretch."""
_MOST: Final = 0.99


@dataclass(frozen=True, slots=True)
class Swings:
    """The shares of classes, stretch by stretch.

    Attributes:
        since: when the present stretch began; 0: there is none.
        answers: its predicted rows by class.
        together: as in Past.
        lowest: the least share of each class in any stretch before it, as far as that is beyond chance.
        highest: the greatest.
    """

    since: float = 0.0
    answers: Mapping[str, int] = field(default_factory=dict)
    together: int = 0
    lowest: Mapping[str, float] = field(default_factory=dict)
    highest: Mapping[str, float] = field(default_factory=dict)

    def plus(self, answers: Mapping[str, int], together: int, now: float, length: float) -> "Swings":
        """With a look's answers, which were read `now`; a stretch lasts `length`, and until it has enough of them."""
        names = self.answers.keys() | answers.keys()
        summed = {name: self.answers.get(name, 0) + answers.get(name, 0) for name in sorted(names)}
        since, together = self.since or now, self.together + together
        rows = sum(summed.values())
        known = requests_like(rows, rows + together) if rows else 0.0
        if now - since < length or known < ENOUGH_ANSWERS:
            return Swings(since, summed, together, self.lowest, self.highest)
        lowest, highest = dict(self.lowest), dict(self.highest)
        for name, count in summed.items():
            share = count / rows
            error = _BEYOND_CHANCE * math.sqrt(share * (1.0 - share) / known)
            lowest[name] = min(lowest.get(name, 1.0), share + error)
            highest[name] = max(highest.get(name, 0.0), share - error)
        return Swings(now, {}, 0, lowest, highest)

    def tolerances(self, answers: Mapping[str, int]) -> list[float]:
        """How far the share of each class may be off the whole past's, which has these answers."""
        rows, allowed = sum(answers.values()), DEFAULT_SAFE[MetricKind.CLASS_BALANCE].offset
        return [min(allowed + self._swing(name, count / rows), _MOST) for name, count in answers.items()]

    def _swing(self, name: str, share: float) -> float:
        return max(share - self.lowest.get(name, share), self.highest.get(name, share) - share, 0.0)


def answers_profile(answers: Mapping[str, int], together: int = 0) -> Profile:
    """Each class against all others, as features of two bins; known as if all rows of a request had one class.

    Args:
        answers: predicted rows by class, at least one.
        together: as in Past.
    """
    rows = sum(answers.values())
    shares = {name: count / rows for name, count in answers.items()}
    known = max(int(requests_like(rows, rows + together)), 1)
    return Profile(OUTPUTS, known, tuple(Feature(name, (share, 1.0 - share)) for name, share in shares.items()))
