"""Windows of callers who are few: what has one arm alone waits for the other.

Of callers that come five times an hour hardly any look has some in both arms, and a comparison with nobody shows
nothing. Each request is drawn by itself and, within a split, always by the same share, so that a window may be longer;
and when it ends depends on how many came, and not on what became of them.
"""

from collections.abc import Iterable
from typing import Final

from evaluator.window.labels import RateRow

NOBODY: Final[RateRow] = (0, 0, 0, 0)


def gathered(alone: RateRow, rows: Iterable[RateRow]) -> tuple[list[RateRow], RateRow]:
    """Rows that have both arms, and what waits from now on.

    Args:
        alone: what has waited so far, of one arm.
        rows: of a look.
    """
    both = []
    for row in rows:
        if row[0] and row[2]:
            both.append(row)
            continue
        alone = (alone[0] + row[0], alone[1] + row[1], alone[2] + row[2], alone[3] + row[3])
        if alone[0] and alone[2]:
            both.append(alone)
            alone = NOBODY
    return both, alone
