"""What became of the requests that a SHADOW step mirrors."""

import math
from dataclasses import dataclass, replace
from typing import Final

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import copied
from evaluator.window.pair_rows import pair_rows

ENOUGH_MIRRORED: Final = 0.9
"""Share of control's requests that must have been mirrored: those that are left out, at peaks above all, are others."""
_ENOUGH: Final = 100


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies so far.

    Attributes:
        rows: mirrored rows whose answers were compared.
        different: those that the test version answered otherwise.
        sent: copies that the test version got in the present step.
        originals: requests that control got in it.
        step_rows: mirrored rows whose answers were compared in it.
    """

    rows: int = 0
    different: int = 0
    sent: int = 0
    originals: int = 0
    step_rows: int = 0

    def plus(self, counted: ArmCounts) -> "Copies":
        """With a look's counts."""
        pairs = pair_rows(counted)
        rows, (sent, originals) = sum(row[0] for row in pairs), copied(counted)
        return Copies(
            self.rows + rows,
            self.different + sum(row[1] for row in pairs),
            self.sent + sent,
            self.originals + originals,
            self.step_rows + rows,
        )

    def anew(self) -> "Copies":
        """For a new step."""
        return replace(self, sent=0, originals=0, step_rows=0)

    @property
    def share(self) -> float:
        """Share of control's requests that was mirrored; NaN: too few are known, or control does not run."""
        return self.sent / self.originals if self.originals >= _ENOUGH else math.nan

    @property
    def rows_each(self) -> float:
        """Rows of a copy on average, at least 1."""
        return max(self.step_rows / self.sent, 1.0) if self.sent else 1.0

    def may_move(self, margin: float) -> bool:
        """Whether so many requests have no copy that a class may be answered more, or less, often for that alone.

        Copies are left out for what requests are (too large) or when they come (at peaks), and these may be of one
        class: its share is off by no more than the part that was left out. Half of the margin is allowed.
        """
        return 1.0 - self.share > margin / 2.0

    @property
    def too_few(self) -> bool:
        """Whether so many requests were left out that what was mirrored may be others than control's."""
        return self.share < ENOUGH_MIRRORED


NO_COPIES: Final = Copies()
