"""Reading a list's page in blocks: rows whose number is bounded and whose size is not are not all read at once."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from registry.repositories import Page
from registry.sizes import FITTING_BYTES

T = TypeVar("T")

_FIRST_ROWS: Final = 8
_MOST_ROWS: Final = 64
"""In one block. Where a thousand small rows are asked for, they take some twenty ways to the database and back."""


def in_blocks(
    ask: Callable[[T | None, int], Sequence[T]],
    weigh: Callable[[T], int],
    limit: int,
    most: int = FITTING_BYTES,
    first: int = _FIRST_ROWS,
) -> Page[T]:
    """The first rows, as many as one answer holds, and one at least.

    Args:
        ask: rows after one (None: from the first on), at most so many.
        weigh: what a row counts for: how many bytes of it are sent at least, where `most` is of bytes.
        limit: at most so many rows.
        most: what the rows of one answer may count for together.
        first: rows of the first block, which is read whole whatever they count for.
    """
    taken, weight, size = list[T](), 0, first
    while len(taken) < limit:
        wanted = min(size, limit - len(taken))
        block = ask(taken[-1] if taken else None, wanted)
        for row in block:
            weight += weigh(row)
            if taken and weight > most:
                return Page(taken, cut_short=True)
            taken.append(row)
        if len(block) < wanted:
            break
        if weight > most:
            # It comes alone; to see whether another one follows is not worth reading that.
            return Page(taken, cut_short=True)
        # As many as may fit, if they are like those before.
        like = (most - weight) * len(taken) // max(weight, 1) + 1
        size = max(1, min(2 * size, _MOST_ROWS, like))
    return Page(taken)
