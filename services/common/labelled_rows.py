"""Which rows of which predictions were labelled: of so many predictions, the oldest being forgotten first."""

from collections import deque


class LabelledRows:
    """Bits by prediction.

    Args:
        most: predictions that are remembered, each with some 160 bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bits: dict[int, int] = {}
        # A dict's first key is found past all that were deleted before it, 40 times as slowly as this; an OrderedDict
        # takes half as much again.
        self._order: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._bits)

    def __getitem__(self, nonce: int) -> int:
        """The bits of a prediction; none are set of one that is not known, or not any more."""
        return self._bits.get(nonce, 0)

    def __setitem__(self, nonce: int, bits: int) -> None:
        if nonce not in self._bits:
            self._order.append(nonce)
        self._bits[nonce] = bits
        if len(self._bits) > self._most:
            del self._bits[self._order.popleft()]
