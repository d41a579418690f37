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
"""By so much the clocks of a Worker and of who counts its labels may differ."""
_MOST_MARKS: Final = 16
_MARKS_APART_SECONDS: Final = 3600.0

Slice = tuple[int, int]
"""Epoch, and number of the slice."""


def is_ahead(time: float, now: float) -> bool:
    """Whether a time is by a clock that is ahead, or `now` by one that was set back."""
    return time - now > _AHEAD_SECONDS


class KeptSlices:
    """The kept slices of one lane.

    Those that lie in this process's future (a Worker's clock is ahead, or this one's behind) have room of their own:
    they would be the newest for as long as the clocks are apart, and push all present ones out.
    """

    def __init__(self) -> None:
        self._times: dict[Slice, float] = {}
        # By whether it was ahead when it was dropped: when it was routed, and the slice.
        self._dropped: dict[bool, list[tuple[float, Slice]]] = {}
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
        ahead = is_ahead(time, now)
        if one <= self._mark(now, ahead=ahead):
            return []
        self._times[one] = time
        alike = sorted(known for known, when in self._times.items() if is_ahead(when, now) is ahead)
        room = sizes() if len(alike) > catalog.KEPT_SLICES else {}
        gone = beyond_room(alike, room)
        if gone:
            self._note(ahead, self._times[gone[-1]], gone[-1])
        for oldest in gone:
            del self._times[oldest]
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
        dropped = {ahead: [mark for mark in marks if mark[1][0] <= epoch] for ahead, marks in self._dropped.items()}
        # Which older slices had been dropped is not known any more, so that none of the past is taken that is not kept.
        self._fallen_at, self._over_above = now, epoch if dropped == self._dropped else -1
        self._dropped = dropped
        return gone

    def _mark(self, now: float, *, ahead: bool) -> Slice:
        """The newest slice that was dropped.

        One that was present then and lies in the future now was so by a clock that was set back since: it would keep
        out all that comes until that time. It counts again when the clock does.
        """
        marks = self._dropped.get(ahead, ())
        return max((one for time, one in marks if ahead or not is_ahead(time, now)), default=(-1, -1))

    def _note(self, ahead: bool, time: float, one: Slice) -> None:
        """Notes the newest slice that was dropped, and keeps those of hours ago: this one may be by a wrong clock."""
        marks = self._dropped.setdefault(ahead, [])
        if marks and abs(time - marks[-1][0]) < _MARKS_APART_SECONDS:
            time, one = max(marks.pop(), (time, one))
        self._dropped[ahead] = [*marks, (time, one)][-_MOST_MARKS:]


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
