"""How much time passed from look to look, whatever the clocks of those who looked did meanwhile.

Looks are told apart by wall clocks: each was perhaps another Evaluator's, and a clock may be set between two of them.
So of the way between two looks no more counts than somebody would have watched, and of a way back nothing: what lies
beyond is a clock that was set, or time in which nobody looked, and neither makes a label any older.
"""

from dataclasses import dataclass
from typing import Final

MOST_MISSED: Final = 3.0
"""Look intervals: of a longer time between two looks no more passes for watched."""
_LEAST_GAP: Final = 2.0
"""Seconds: a busy machine may be as late with a look, however short the intervals are."""


def most_watched(look_interval: float) -> float:
    """Seconds between two looks that pass for watched."""
    return max(MOST_MISSED * look_interval, _LEAST_GAP)


def stands(now: float, latest: float, most: float) -> bool:
    """Whether `now` is hardly before the latest time, so that time stands: a clock that is set back goes further."""
    return 0.0 < latest - now <= most


def leap(passed: float, behind: float, most: float) -> tuple[float, float]:
    """What of the way between two looks nobody watched, and how far the clock went back.

    Where two Evaluators take turns whose clocks differ, the way back and the way forth are of the same time.

    Args:
        passed: seconds from the look before to this one, by the clocks of both.
        behind: how far the look before had gone back.
        most: seconds that pass for watched.
    """
    if passed < 0.0:
        return passed, -passed
    if passed <= most:
        return 0.0, 0.0
    return passed - min(max(passed - behind, 0.0), most), 0.0


@dataclass(frozen=True, slots=True)
class Passing:
    """The looks' times, and what of the way between them was watched.

    Attributes:
        latest: when the latest look was by the clock of who looked, seconds since 1970-01-01 UTC; 0: there was none.
        leapt: seconds since the first look in which nobody looked; below 0 where clocks were set back.
        behind: how far the latest look went back.
    """

    latest: float = 0.0
    leapt: float = 0.0
    behind: float = 0.0

    def to(self, now: float, most: float) -> "Passing":
        """After a look at `now`; 0: it has no time.

        A little way back is none: a clock that is set by so little only stands.

        Args:
            now: seconds since 1970-01-01 UTC.
            most: seconds that pass for watched.
        """
        if not now or stands(now, self.latest, most):
            return self
        if not self.latest:
            return Passing(now)
        leapt, behind = leap(now - self.latest, self.behind, most)
        return Passing(now, self.leapt + leapt, behind)

    @property
    def now(self) -> float:
        """The latest look on the scale of what was watched."""
        return self.steady(self.latest)

    def of_read(self, time: float, most: float) -> float:
        """When the latest look's processes were read, on that scale.

        A look may read what is older than itself, by no more than it seems; a clock may also have been set between.
        """
        return self.now - min(max(self.latest - time, 0.0), most)

    def steady(self, time: float) -> float:
        """A time of the latest look's on the scale of what was watched, on which differences count."""
        return time - self.leapt


NOT_LOOKED: Final = Passing()
"""Before the first look."""
