"""Whether requests are split as the lane asks for: a broken split is an error of the rollout, and no evidence."""

from dataclasses import dataclass, replace
from typing import Final

from evaluator.statistics.sample_ratio import is_broken, log_evidence
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import drawn

Shares = tuple[int, int]
"""Of the test and of the control arm, in basis points; stable has the rest."""
_ALL: Final = 10_000


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """How often each arm was drawn.

    Attributes:
        epoch: of the counts; -1: none.
        shares: in force in it.
        counts: requests drawn for test, control and stable in it.
        before: ln E of the epochs before.
        most: the greatest ln E so far.
    """

    epoch: int = -1
    shares: Shares = (0, 0)
    counts: tuple[int, int, int] = (0, 0, 0)
    before: float = 0.0
    most: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether the arms did not get their shares."""
        return is_broken(self.most)

    @property
    def test_share(self) -> float:
        """Of the requests of this epoch those that were drawn for the test arm (of a SHADOW step: for control)."""
        total = sum(self.counts)
        return (self.counts[0] or self.counts[1]) / total if total else 0.0

    def after(self, counted: ArmCounts, epoch: int, shares: Shares) -> "SplitCheck":
        """The check after one look.

        Args:
            counted: since the look before.
            epoch: the split in force.
            shares: of that split; both zero: nothing is split.
        """
        check = self
        if (epoch, shares) != (self.epoch, self.shares):
            check = replace(self, epoch=epoch, shares=shares, counts=(0, 0, 0), before=self.log_e)
        test, control, stable = (a + b for a, b in zip(check.counts, drawn(counted, epoch), strict=True))
        check = replace(check, counts=(test, control, stable))
        return replace(check, most=max(check.most, check.log_e))

    @property
    def log_e(self) -> float:
        """ln E that the arms of this epoch, or of one before, did not get their shares."""
        test, control = self.shares
        if not test and not control:
            return self.before
        parts = (test / _ALL, control / _ALL, (_ALL - test - control) / _ALL)
        return self.before + log_evidence(self.counts, parts)
