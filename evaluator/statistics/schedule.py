"""When looks are taken where counts add up, and which part of the error each may spend.

The times are parts of a period and fixed before it begins, so that the error is shared over them (the union bound).
Seven great looks share most of it; between them small ones find what is far beyond the line, such as a version that
fails everybody, without waiting for the next great one; and what is left is for looks after the period.
"""

import itertools
from dataclasses import dataclass
from typing import Final

LAST_LOOK: Final = 0.9
"""Part of the period in which its looks are: what its first seconds have is not judged, and it ends at a decision."""
_IN_PERIOD: Final = 64
_GREAT: Final = frozenset({2, 4, 8, 16, 32, 48, 64})
_AFTER_IN_PERIOD: Final = 8
GREAT_PART: Final = 0.75 / len(_GREAT)
"""Of the error, what a great look may spend."""
_SMALL_PART: Final = 0.15 / _IN_PERIOD
_AFTER_PART: Final = 0.1


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which looks of a step were taken.

    taken: how many.
    """

    taken: int = 0

    def due(self, at: float) -> tuple[float, "Schedule"]:
        """Return the part of the error for a look at `at`, in parts of the period, and the schedule after it.

        0: none is due. Looks that are due together are one.
        """
        part, taken = 0.0, self.taken
        while _time(taken + 1) <= at:
            taken += 1
            part += _part(taken)
        return part, Schedule(taken)

    def ahead(self, until: float) -> list[tuple[float, float]]:
        """Return time and part of the error of each look from here to `until`, in parts of the period."""
        numbers = itertools.takewhile(lambda number: _time(number) <= until, itertools.count(self.taken + 1))
        return [(_time(number), _part(number)) for number in numbers]

    @property
    def following(self) -> float:
        """When the next look is, in parts of the period."""
        return _time(self.taken + 1)


def _time(number: int) -> float:
    after = number - _IN_PERIOD
    return LAST_LOOK * (number / _IN_PERIOD if after <= 0 else 1.0 + after / _AFTER_IN_PERIOD)


def _part(number: int) -> float:
    after = number - _IN_PERIOD
    if after > 0:
        return _AFTER_PART / (after * (after + 1))
    return _SMALL_PART + (GREAT_PART if number in _GREAT else 0.0)
