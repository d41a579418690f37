"""What fits into one message: rows whose number is bounded and whose size is not are sent in several."""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from crossfade.connection import MESSAGE_LIMIT

T = TypeVar("T")

FITTING_BYTES: Final = MESSAGE_LIMIT // 2
"""Of the rows in one message: gRPC refuses twice as much, and there are the names and numbers around them."""


def fitting(rows: Iterable[T], size: Callable[[T], int]) -> list[T]:
    """The first rows, as many as one message holds, and one at least.

    Args:
        rows: what is to be sent; no more of it is read than is needed.
        size: of a row, in bytes.
    """
    taken, octets = list[T](), 0
    for row in rows:
        octets += size(row)
        if taken and octets > FITTING_BYTES:
            break
        taken.append(row)
    return taken
