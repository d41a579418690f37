"""The splits that series belong to, and which of those that are gone their process dropped."""

from collections.abc import Collection, Iterable
from typing import Final

from services.common.telemetry import catalog

Split = tuple[int, ...]
"""An epoch, or an epoch and a slice's number."""
_OF_SLICE: Final = 2
_DIGITS: Final = 18
"""Of the longest number that is one: such a count of seconds is more than there were, and fits into 64 bits."""
Attributes = Collection[tuple[str, str]]
"""Names and values."""


def whole(written: str) -> int | None:
    """A number as processes write it; None: it is none, or larger than any that they have counted to.

    No look may end at what one process writes. So it is asked for plain digits: ² is one to Python, and no number.
    """
    return int(written) if len(written) <= _DIGITS and written.isascii() and written.isdigit() else None


def split_of(attributes: Iterable[tuple[str, str]]) -> Split | None:
    """The split that a series belongs to; None: to none, or it is written in another form."""
    for name, value in attributes:
        if name in catalog.SPLIT_ATTRIBUTES:
            parts = value.split(".")
            numbers = tuple(number for number in map(whole, parts) if number is not None)
            return numbers if len(numbers) == len(parts) else None
    return None


Arm = tuple[str, str, str, str]
"""A metric, and the segment, the version and the kind of traffic that its series are of."""


class Splits:
    """The splits of one process's series at one moment, by which it is known which of those that are gone it dropped.

    Processes keep the latest four epochs. Of slices they keep sixteen at least, whichever epochs those are of, and of
    labels as many more as there is room for; the oldest go first, with all their series.

    Args:
        series: metric and attributes of each that is there.
    """

    def __init__(self, series: Iterable[tuple[str, Attributes]]) -> None:
        self._newest: dict[tuple[str, str], Split] = {}
        self._oldest: dict[Arm, Split] = {}
        self._slices: dict[str, set[Split]] = {}
        for metric, attributes in series:
            split = split_of(attributes)
            if split is None:
                continue
            arm = _arm(metric, attributes)
            self._newest[arm[:2]] = max(split, self._newest.get(arm[:2], split))
            self._oldest[arm] = min(split, self._oldest.get(arm, split))
            if len(split) == _OF_SLICE:
                self._slices.setdefault(arm[1], set()).add(split)

    def outlive(self, metric: str, attributes: Attributes) -> bool:
        """Whether a series that is gone was dropped for good: one of another kind is late, and comes back."""
        arm = _arm(metric, attributes)
        split, newest = split_of(attributes), self._newest.get(arm[:2])
        if split is None or newest is None or len(split) != len(newest):
            return False
        if newest[0] - split[0] >= catalog.KEPT_EPOCHS:
            return True
        if len(split) != _OF_SLICE or self._oldest.get(arm, newest) <= split:
            return False
        if newest[0] == split[0] and newest[1] - split[1] >= catalog.KEPT_SLICES:
            return True
        return sum(one > split for one in self._slices[arm[1]]) >= catalog.KEPT_SLICES


def _arm(metric: str, attributes: Attributes) -> Arm:
    at = dict(attributes)
    return metric, at.get("segment", ""), at.get("version", ""), at.get("traffic", "")
