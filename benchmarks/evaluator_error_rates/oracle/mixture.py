"""ln E of a mixture of bets, of which some begin late."""

import math
from collections.abc import Sequence
from typing import Final

LATE: Final = 0.1
"""The part of the wealth that a test of harm keeps for harm that begins late."""


def log_mixture(
    weights: Sequence[float], gains: Sequence[Sequence[float]], late: float, given: Sequence[float] = ()
) -> float:
    """ln E after looks whose bets gained so much, without a cap.

    Args:
        weights: of the bets before anything is seen.
        gains: ln e of each bet, look by look; only looks that said something.
        late: the part of the wealth for bets that begin at look k = 2, 3..., of it 1/((k-1)k) each: what has not begun
            by look t is 1/(t+1) of it.
        given: in ln, what is given away after each look by the bets that have begun and by those that begin with the
            next; as none, if empty.
    """
    seen = len(gains)
    if not seen:
        return 0.0
    whole = math.fsum(weights)
    total = [late / (seen + 1.0)]
    for place, weight in enumerate(weights):
        total += [
            weight
            / whole
            * part
            * math.exp(math.fsum(gain[place] for gain in gains[begin:]) - math.fsum(given[max(begin - 1, 0) :]))
            for begin, part in enumerate([1.0 - late, *(late / (k * (k + 1.0)) for k in range(1, seen + 1))])
        ]
    return math.log(math.fsum(total))
