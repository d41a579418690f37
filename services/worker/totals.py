"""The counts of all processes of one Worker, added up; those of ended ones are kept."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.common.telemetry import catalog
from services.common.telemetry.store import Snapshot, merge
from services.worker.domain import Lane, ServingKey

RETENTION_SECONDS: Final = 900.0
"""How long the counts of an unloaded version are kept: a cumulative count must not fall while somebody may look."""

_BY_EPOCH: Final = frozenset({catalog.WORKER_DURATION})
_BY_SLICE: Final = frozenset(
    {
        catalog.CALLER_FEEDBACK_COUNT,
        catalog.CALLER_PREDICTION_COUNT,
        catalog.COHORT_FEEDBACK,
        catalog.FEEDBACK_ALIKE,
        catalog.FEEDBACK_COUNT,
        catalog.FEEDBACK_ERROR,
        catalog.FEEDBACK_VALUE,
        catalog.PREDICTION_ALIKE,
        catalog.PREDICTION_COUNT,
    },
)


class Totals:
    """Counts by process."""

    def __init__(self) -> None:
        self._latest: dict[ServingKey, Sequence[Snapshot]] = {}
        self._ended: dict[ServingKey, Sequence[Snapshot]] = {}
        self._unloaded: dict[tuple[str, str], float] = {}

    def update(self, key: ServingKey, snapshots: Sequence[Snapshot]) -> None:
        """Notes what a running process has counted since its start."""
        self._latest[key] = snapshots

    def ended(self, key: ServingKey) -> None:
        """Adds what a process had counted when it was last heard to what its forerunners counted."""
        latest = self._latest.pop(key, ())
        self._ended[key] = merge((*self._ended.get(key, ()), *latest))

    def sum(self) -> list[Snapshot]:
        """Every series, added up."""
        parts: list[Snapshot] = []
        for by_key in (self._ended, self._latest):
            for snapshots in by_key.values():
                parts.extend(snapshots)
        return merge(parts)

    def prune(self, loaded: Iterable[ServingKey], lanes: Iterable[Lane], now: float) -> None:
        """Forgets versions that have been unloaded for long, and old epochs and slices of ended processes.

        Args:
            loaded: what is held at present.
            lanes: the routes, with the epoch in force of each lane.
            now: seconds of the monotonic clock.
        """
        held = {(key.model, key.version) for key in loaded}
        for version in {(key.model, key.version) for key in self._ended} - held:
            since = self._unloaded.setdefault(version, now)
            if now - since >= RETENTION_SECONDS:
                self._ended = {key: kept for key, kept in self._ended.items() if (key.model, key.version) != version}
        gone = {version: since for version, since in self._unloaded.items() if version not in held}
        self._unloaded = {version: since for version, since in gone.items() if now - since < RETENTION_SECONDS}
        epochs = {(lane.model, lane.segment): lane.epoch for lane in lanes}
        self._ended = {key: [one for one in kept if _is_kept(one, epochs)] for key, kept in self._ended.items()}


def _is_kept(snapshot: Snapshot, epochs: Mapping[tuple[str, str], int]) -> bool:
    metric = snapshot.metric
    if metric not in _BY_EPOCH and metric not in _BY_SLICE:
        return True
    attributes = dict(zip(metric.attributes, snapshot.attributes, strict=True))
    newest = epochs.get((attributes["model"], attributes["segment"]), 0)
    text = attributes["epoch"] if metric in _BY_EPOCH else attributes["slice"].partition(".")[0]
    return int(text) > newest - catalog.KEPT_EPOCHS
