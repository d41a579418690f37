"""How far shares swing while a version stays as it is.

A lane gets other requests by night than by day. Held against the mean of its first day, a version would stand out every
night. So its past is known by stretches as well: a share may be as small, or as large, as in any of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from evaluator.statistics.design_effect import requests_like

ENOUGH_ROWS: Final = 1_000
"""Of a stretch, and of a past."""
MOST: Final = 0.99
"""No tolerance is larger."""
_STRETCHES: Final = 24
_LONGEST: Final = 3600.0
_BEYOND_CHANCE: Final = 3.0
"""Standard errors that a stretch is off by for nothing: of 24 and two classes one in ten pasts has such a stretch."""


def stretch_of(learn: float) -> float:
    """Seconds of a stretch of a past that is learnt for so many: hours, by default and of longer pasts."""
    return min(learn / _STRETCHES, _LONGEST)


@dataclass(frozen=True, slots=True)
class Swings:
    """Shares of rows, stretch by stretch.

    Attributes:
        since: when the present stretch began; 0: there is none.
        counts: its rows by name.
        rows: all of its rows.
        together: as in Past.
        lowest: the least share of each name in any stretch before it, as far as that is beyond chance.
        highest: the greatest.
    """

    since: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    together: int = 0
    lowest: Mapping[str, float] = field(default_factory=dict)
    highest: Mapping[str, float] = field(default_factory=dict)

    def plus(self, counts: Mapping[str, int], rows: int, together: int, now: float, length: float) -> "Swings":
        """With a look's rows, which were read `now`; a stretch lasts `length`, and until it has enough of them."""
        names = self.counts.keys() | counts.keys()
        summed = {name: self.counts.get(name, 0) + counts.get(name, 0) for name in sorted(names)}
        since, rows, together = self.since or now, self.rows + rows, self.together + together
        known = requests_like(rows, rows + together) if rows else 0.0
        if now - since < length or known < ENOUGH_ROWS:
            return Swings(since, summed, rows, together, self.lowest, self.highest)
        lowest, highest = dict(self.lowest), dict(self.highest)
        for name, count in summed.items():
            share = count / rows
            error = _BEYOND_CHANCE * math.sqrt(share * (1.0 - share) / known)
            lowest[name] = min(lowest.get(name, 1.0), share + error)
            highest[name] = max(highest.get(name, 0.0), share - error)
        return Swings(now, lowest=lowest, highest=highest)

    def swing(self, name: str, share: float) -> float:
        """How far the share was off that of the whole past."""
        return max(share - self.lowest.get(name, share), self.highest.get(name, share) - share, 0.0)
