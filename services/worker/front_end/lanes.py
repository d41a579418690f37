"""Which lane, arm, epoch and slice a request belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crossfade import metadata as keys
from services.common.feedback import EPOCHS_AHEAD
from services.common.telemetry import catalog
from services.worker.domain import TRAFFIC_NUMBERS, Context, LaneContext, ServingKey, Traffic

DEFAULT_SLICE_SECONDS: Final = 300.0
"""A twelfth of the default period of 1 h."""
_SLICE_BITS: Final = 0xFFFFFFFF
"""A prediction token has 32 bits for the slice."""
_EPOCHS_BEHIND: Final = 3
_KEPT_PLACES: Final = 1024
_KINDS: Final = frozenset(Traffic)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a request is counted; the same object for all requests of that place, so that it can be a quick key.

    Attributes:
        traffic: its kind.
        segment: its lane's segment.
        epoch: the split that sent it here.
        slice_number: whole slices since 1970, modulo 2^32.
        refused: the version has failed in the lane.
        traffic_number: the number of its kind in `crossfade.common.v1.Traffic`.
        cohort: of the request's key, 0 to 49, as the Router says in a lane that assigns by key; -1: it says none.
        caller: the caller's segment, as the Router says where a gate watches it by itself; empty: it says none.
    """

    traffic: Traffic
    segment: str
    epoch: int
    slice_number: int
    refused: bool
    traffic_number: int
    cohort: int = -1
    caller: str = ""


class LaneBook:
    """The lanes that a process's version is in.

    Args:
        key: what the process serves.
    """

    def __init__(self, key: ServingKey) -> None:
        self._key = key
        self._lanes: dict[str, LaneContext] = {}
        self._default = LaneContext("", 0, DEFAULT_SLICE_SECONDS)
        self._places: dict[tuple[str, str, int, str, str, str], Place] = {}
        self._refused: frozenset[str] = frozenset()

    def update(self, context: Context) -> None:
        """Takes over what the supervisor says."""
        self._places.clear()
        self._lanes = {lane.segment: lane for lane in context.lanes}
        self._refused = frozenset(context.refused)
        # Requests that name no segment belong to the default one, or to the only one there is.
        if "" in self._lanes:
            self._default = self._lanes[""]
        elif context.lanes:
            self._default = context.lanes[0]

    @property
    def epochs(self) -> dict[str, int]:
        """The epoch in force of each segment."""
        return {segment: lane.epoch for segment, lane in self._lanes.items()}

    @property
    def segments(self) -> frozenset[str]:
        """Segments that requests are counted in."""
        return frozenset((*self._lanes, self._default.segment))

    def place(self, metadata: Mapping[str, str], now: float) -> Place:
        """Where a request with this metadata is counted. `now`: seconds since 1970.

        An unknown kind of traffic, segment or epoch is replaced by what the address and the routes say, so that a
        caller cannot create series.
        """
        segment, traffic = metadata.get(keys.SEGMENT, ""), metadata.get(keys.TRAFFIC, "")
        lane = self._lanes.get(segment, self._default)
        number = int(now / (lane.slice_seconds or DEFAULT_SLICE_SECONDS)) & _SLICE_BITS
        stated = metadata.get(keys.EPOCH, ""), metadata.get(keys.COHORT, ""), metadata.get(keys.CALLER, "")
        key = (lane.segment, traffic, number, *stated)
        place = self._places.get(key)
        if place is None:
            # Callers choose what is looked up, so only so many are kept.
            if len(self._places) >= _KEPT_PLACES:
                self._places.clear()
            place = self._places[key] = self._find(lane, traffic, number, *stated)
        return place

    def _find(self, lane: LaneContext, traffic: str, number: int, stated: str, cohort: str, caller: str) -> Place:
        kind = Traffic(traffic) if traffic in _KINDS else self._key.traffic
        epoch = lane.epoch
        if stated.isdecimal() and len(stated) < 19 and -_EPOCHS_BEHIND <= int(stated) - epoch <= EPOCHS_AHEAD:
            # Router and Worker learn of a new split at different moments; the Router's word is what it acted on.
            epoch = int(stated)
        return Place(
            kind,
            lane.segment,
            epoch,
            number,
            lane.segment in self._refused,
            TRAFFIC_NUMBERS[kind],
            _cohort(cohort),
            caller if caller in lane.watched else "",
        )


def _cohort(stated: str) -> int:
    number = int(stated) if stated.isdecimal() and len(stated) < 4 else -1
    return number if number < catalog.COHORTS else -1
