"""Which labels that came too late were counted as such: each once, however often it comes."""

from collections import OrderedDict

Arm = tuple[str, ...]
"""What late labels are counted by."""


class LateRows:
    """Bits by prediction, as in `LabelledRows`, and until when they are known.

    What is forgotten must not count again, or a sender with more old predictions than are remembered could send them
    in turns. So of each arm nothing counts any more that is no newer than what was forgotten of it.

    Args:
        most: predictions that are remembered, each with some 350 bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[int, tuple[int, int, Arm]] = OrderedDict()
        self._forgotten: dict[Arm, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def note(self, nonce: int, bit: int, time_ms: int, arm: Arm) -> bool:
        """Notes a label, and says whether it is the first of its row.

        Args:
            nonce: the prediction's.
            bit: the row's.
            time_ms: when the prediction was routed.
            arm: the prediction's.
        """
        known = self._known.get(nonce)
        if known is None:
            if time_ms <= self._forgotten.get(arm, -1):
                return False
            self._known[nonce] = 1 << bit, time_ms, arm
            if len(self._known) > self._most:
                _, (_, oldest, of) = self._known.popitem(last=False)
                self._forgotten[of] = max(oldest, self._forgotten.get(of, -1))
            return True
        bits = known[0]
        self._known[nonce] = bits | 1 << bit, *known[1:]
        return not bits >> bit & 1
