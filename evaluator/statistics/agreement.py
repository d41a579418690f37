"""That several looks agree on a winner, as several must on harm.

Where "better" is better by anything, versions alike stand at the null's edge: evidence that an incident of the stable
arm has brought them stays until chance takes it back, and chance may as well add what is lacking. So a look at which
stable alone is bad must bring little, and two of them hardly more. Of a test that k looks have to agree on:

- **Cap.** One look raises ln E by no more than ln(1/alpha)/k above what it was, or above 0. All candidates' wealth is
  raised alike then: which bet is right is not learnt from what is too good to be true, and after an incident the test
  goes on as it went before.
- **Excess.** The k - 1 best looks count as the next best one does. What they brought beyond that is held back.

Both only take away: E with a look's excess given away is a supermartingale as before, and what is held back makes
"reached 1/alpha" rarer, so that a version that is not better wins with a probability of alpha at most.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from evaluator.statistics.counts import frozen
from evaluator.statistics.process import EProcess, capped, look_cap


@dataclass(frozen=True, slots=True)
class Agreement:
    """What looks have brought to a test that several of them have to agree on.

    cap: the most by which a look may raise ln E above its value before, or above 0 where that was negative.
    gains: by which the best looks raised ln E, as many as must agree, the greatest first; 0 where there were fewer.
    """

    cap: float
    gains: tuple[float, ...]

    @classmethod
    def of(cls, alpha: float, looks: int) -> Self:
        """Return that of a fresh test at level alpha, on which so many looks must agree, at least 1."""
        return cls(look_cap(alpha, looks), (0.0,) * looks)

    @property
    def excess(self) -> float:
        """What the best looks brought beyond the least of those that must agree, in ln E."""
        return sum(self.gains) - len(self.gains) * self.gains[-1]

    def after(self, before: EProcess, look: EProcess) -> tuple[Self, EProcess]:
        """Return what is known after a look, and the process as far as the look may count.

        before, look: the process before it and after all of its windows, of shape () and without a reserve.
        """
        wealth, log_e = capped((before.log_wealth, before.log_e), (look.log_wealth, look.log_e), self.cap)
        if log_e is not look.log_e:
            most = np.maximum(before.max_log_e, log_e)
            look = replace(look, log_wealth=frozen(wealth), log_e=frozen(log_e), max_log_e=most)
        gains = sorted((*self.gains, float(look.log_e - before.log_e)), reverse=True)[: len(self.gains)]
        return replace(self, gains=tuple(gains)), look

    def restart(self) -> Self:
        """Return it with no looks."""
        return replace(self, gains=(0.0,) * len(self.gains))
