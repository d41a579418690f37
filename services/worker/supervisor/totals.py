"""The counts of all processes of one Worker, added up; those of ended ones are kept."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.common.kept_slices import Slice, beyond_room, room_of
from services.common.left import LANE_SECONDS, Left
from services.common.telemetry import catalog
from services.common.telemetry.store import Snapshot, merge
from services.worker.domain import Lane, ServingKey

RETENTION_SECONDS: Final = 900.0
"""How long the counts of an unloaded version are kept: a cumulative count must not fall while somebody may look."""

_BY_EPOCH: Final = frozenset({catalog.WORKER_DURATION})
# Each has model, version, traffic, segment and slice as its first attributes.
_OF_PREDICTIONS: Final = frozenset(
    {catalog.CALLER_PREDICTION_COUNT, catalog.PREDICTION_ALIKE, catalog.PREDICTION_COUNT},
)
_OF_LABELS: Final = frozenset(
    {
        catalog.CALLER_FEEDBACK_COUNT,
        catalog.COHORT_FEEDBACK,
        catalog.FEEDBACK_ALIKE,
        catalog.FEEDBACK_COUNT,
        catalog.FEEDBACK_ERROR,
        catalog.FEEDBACK_VALUE,
    },
)
_Kept = tuple[bool, str, Slice]
"""A slice of labels or of predictions, of a segment."""


class Totals:
    """Counts by process."""

    def __init__(self) -> None:
        self._latest: dict[ServingKey, Sequence[Snapshot]] = {}
        self._ended: dict[ServingKey, Sequence[Snapshot]] = {}
        self._unloaded = Left[tuple[str, str]](RETENTION_SECONDS)
        self._epochs: dict[tuple[str, str], int] = {}
        self._counted: set[tuple[str, str]] = set()
        self._left = Left[tuple[str, str]](LANE_SECONDS)

    def update(self, key: ServingKey, snapshots: Sequence[Snapshot]) -> None:
        """Notes what a running process has counted since its start."""
        self._latest[key] = snapshots

    def ended(self, key: ServingKey) -> None:
        """Adds what a process had counted when it was last heard to what its forerunners counted."""
        latest = self._latest.pop(key, ())
        self._counted.update(lane for one in latest if (lane := _lane_of(one)) is not None)
        self._ended[key] = merge((*self._ended.get(key, ()), *latest))

    def sum(self, model: str = "") -> list[Snapshot]:
        """Every series, or every one of a model, added up."""
        parts: list[Snapshot] = []
        for by_key in (self._ended, self._latest):
            for key, snapshots in by_key.items():
                if model in ("", key.model):
                    parts.extend(snapshots)
        return merge(parts)

    def prune(self, loaded: Iterable[ServingKey], lanes: Iterable[Lane], now: float) -> None:
        """Forgets versions unloaded for long; and of ended processes lanes that are gone, old epochs and slices.

        A process keeps so many slices, and so are they kept of all that have ended, but for those that one which runs
        counts in: what it has counted since would be less than what was seen.

        Args:
            loaded: what is held at present.
            lanes: the routes, with the epoch in force of each lane.
            now: seconds of the monotonic clock.
        """
        held = {(key.model, key.version) for key in loaded}
        gone = self._unloaded.over([(key.model, key.version) for key in self._ended], held, now)
        self._ended = {key: kept for key, kept in self._ended.items() if (key.model, key.version) not in gone}
        epochs = {(lane.model, lane.segment): lane.epoch for lane in lanes}
        if left := self._left.over(self._counted, epochs, now):
            self._counted -= left
            ended = self._ended.items()
            self._ended = {key: [one for one in kept if _lane_of(one) not in left] for key, kept in ended}
        # Epochs above one that falls never were: the Registry's database was put back.
        fallen = {lane: epoch for lane, epoch in epochs.items() if epoch < self._epochs.get(lane, 0)}
        self._epochs = epochs
        for key, kept in self._ended.items():
            young = [one for one in kept if _is_young(one, epochs, fallen)]
            over = _over(young, self._latest.get(key, ()))
            self._ended[key] = [one for one in young if _slice_of(one) not in over]


def _lane_of(snapshot: Snapshot) -> tuple[str, str] | None:
    """The lane that a series belongs to; None: to none."""
    if snapshot.metric.attributes[3:4] != ("segment",):
        return None
    return snapshot.attributes[0], snapshot.attributes[3]


def _is_young(snapshot: Snapshot, epochs: Mapping[tuple[str, str], int], fallen: Mapping[tuple[str, str], int]) -> bool:
    kept = _slice_of(snapshot)
    if kept is not None:
        epoch = kept[2][0]
    elif snapshot.metric in _BY_EPOCH:
        epoch = int(snapshot.attributes[snapshot.metric.attributes.index("epoch")])
    else:
        return True
    lane = (snapshot.attributes[0], snapshot.attributes[3])
    return epochs.get(lane, 0) - catalog.KEPT_EPOCHS < epoch <= fallen.get(lane, epoch)


def _over(ended: Sequence[Snapshot], running: Sequence[Snapshot]) -> set[_Kept]:
    """The slices of ended processes that are too many, and in which nothing more is counted."""
    series = {(one.metric, one.attributes): kept for one in (*ended, *running) if (kept := _slice_of(one)) is not None}
    sizes: defaultdict[tuple[bool, str], Counter[Slice]] = defaultdict(Counter)
    for (metric, _), (labels, segment, here) in series.items():
        sizes[labels, segment][here] += room_of(metric)
    over: set[_Kept] = set()
    for (labels, segment), room in sizes.items():
        ordered = sorted(room)
        gone = beyond_room(ordered, room) if labels else ordered[: -catalog.KEPT_SLICES]
        over.update((labels, segment, one) for one in gone)
    return over.difference(kept for one in running if (kept := _slice_of(one)) is not None)


def _slice_of(snapshot: Snapshot) -> _Kept | None:
    """The slice that a series belongs to; None: to none."""
    labels = snapshot.metric in _OF_LABELS
    if not labels and snapshot.metric not in _OF_PREDICTIONS:
        return None
    epoch, _, number = snapshot.attributes[4].partition(".")
    return labels, snapshot.attributes[3], (int(epoch), int(number))
