"""Which slices of a lane keep their labels' series: as many as there is room for, so that labels may come late."""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final

from services.common.telemetry import catalog

MOST_SLICES: Final = 512
"""No reader of labels remembers more slices of a lane."""
ROOM: Final = 1_024
"""Series of a lane beyond which its oldest slices are dropped, though never the newest 16. Writing 1,024 takes some
60 ms and 230 KB whenever they are read, and readers hold as many for each process."""
_BUCKETS_PER_SERIES: Final = 64
"""A histogram takes the room of one series more for so many buckets: those of absolute errors have 320."""
_AHEAD_SECONDS: Final = 10.0

Slice = tuple[int, int]
"""Epoch, and number of the slice."""


class KeptSlices:
    """The kept slices of one lane.

    Those that lie in this process's future (a Worker's clock is ahead, or this one's behind) have room of their own:
    they would be the newest for as long as the clocks are apart, and push all present ones out.
    """

    def __init__(self) -> None:
        self._times: dict[Slice, float] = {}
        self._dropped: dict[bool, Slice] = {}
        # What was routed before the lane's epoch fell, under a higher epoch than this, is over.
        self._fallen_at, self._over_above = -inf, 0

    def __contains__(self, one: Slice) -> bool:
        return one in self._times

    def add(self, one: Slice, time: float, now: float, sizes: Callable[[], Mapping[Slice, int]]) -> list[Slice]:
        """Keeps a slice, unless it is older than one that was dropped, or than all that there is room for.

        Args:
            one: the slice.
            time: when a prediction was routed in it, seconds since 1970.
            now: the same of now.
            sizes: gives the room that each kept slice takes.

        Returns:
            The slices that are dropped for it.
        """
        if time <= self._fallen_at and one[0] > self._over_above:
            return []
        ahead = self._is_ahead(time, now)
        if one <= self._dropped.get(ahead, (-1, -1)):
            return []
        self._times[one] = time
        alike = sorted(known for known, when in self._times.items() if self._is_ahead(when, now) is ahead)
        room = sizes() if len(alike) > catalog.KEPT_SLICES else {}
        gone = beyond_room(alike, room)
        for oldest in gone:
            del self._times[oldest]
        if gone:
            self._dropped[ahead] = gone[-1]
        return gone

    def fall(self, epoch: int, now: float) -> list[Slice]:
        """The lane's epoch is less than it was, since the Registry's database was put back to an earlier state.

        Slices of the epochs that never were would pass for the newest, and push out all that come from now on.

        Args:
            epoch: the one in force from now on.
            now: seconds since 1970.

        Returns:
            The slices of higher epochs, which are dropped; labels of what was routed in them are not counted any more.
        """
        gone = [one for one in self._times if one[0] > epoch]
        for one in gone:
            del self._times[one]
        dropped = {ahead: one for ahead, one in self._dropped.items() if one[0] <= epoch}
        # Which older slices had been dropped is not known any more, so that none of the past is taken that is not kept.
        self._fallen_at, self._over_above = now, epoch if dropped == self._dropped else -1
        self._dropped = dropped
        return gone

    @staticmethod
    def _is_ahead(time: float, now: float) -> bool:
        return time - now > _AHEAD_SECONDS


def beyond_room(slices: Sequence[Slice], room: Mapping[Slice, int]) -> list[Slice]:
    """The slices of a lane that there is no room for.

    Args:
        slices: ascending.
        room: what each takes.
    """
    taken = sum(room.get(known, 0) for known in slices)
    gone: list[Slice] = []
    for oldest in slices[: -catalog.KEPT_SLICES]:
        if taken <= ROOM and len(slices) - len(gone) <= MOST_SLICES:
            break
        taken -= room.get(oldest, 0)
        gone.append(oldest)
    return gone


def room_of(metric: catalog.Metric) -> int:
    """The room that a series takes."""
    return 1 + len(metric.bounds) // _BUCKETS_PER_SERIES
