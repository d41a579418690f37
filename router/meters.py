"""What the Router counts: an attempt per version, a call per caller."""

from collections.abc import Collection, Iterable
from typing import Final

from router.table import Lane, Table
from services.common.telemetry import catalog
from services.common.telemetry.store import CounterSeries, HistogramSeries, MetricStore

_OF_VERSIONS: Final = frozenset(
    {
        catalog.ATTEMPT_DURATION,
        catalog.CALLER_ATTEMPT_COUNT,
        catalog.CALLER_FEEDBACK_COUNT,
        catalog.COHORT_ATTEMPT,
        catalog.COHORT_FEEDBACK,
        catalog.ROUTE_DURATION,
        catalog.FEEDBACK_ALIKE,
        catalog.FEEDBACK_COUNT,
        catalog.FEEDBACK_DUPLICATE_COUNT,
        catalog.FEEDBACK_ERROR,
        catalog.FEEDBACK_CLASS_LAG,
        catalog.FEEDBACK_LAG,
        catalog.FEEDBACK_LATE_COUNT,
        catalog.FEEDBACK_VALUE,
        catalog.SHADOW_PAIR_COUNT,
        catalog.SHADOW_DROPPED_COUNT,
        catalog.SHADOW_LABEL_COUNT,
        catalog.SHADOW_NOTED_COUNT,
    }
)
"""What is dropped with the version that it is about."""


_OF_EPOCHS: Final = frozenset(
    {catalog.ATTEMPT_DURATION, catalog.CALLER_ATTEMPT_COUNT, catalog.COHORT_ATTEMPT, catalog.ROUTE_COUNT}
)
"""What is dropped with the split that it is about."""

_OF_LANES: Final = _OF_EPOCHS | {catalog.ROUTE_DURATION, catalog.SHADOW_PAIR_COUNT, catalog.SHADOW_DROPPED_COUNT}
"""What is dropped with the lane that it is about."""

_Attempts = tuple[str, str, str, str, str, int]
"""Model, version, traffic, segment, outcome, epoch."""


class Meters:
    """The Router's series. Looked up once per arm and outcome, since a request should pay for its count alone."""

    def __init__(self, store: MetricStore) -> None:
        self._store = store
        self._attempts: dict[_Attempts, HistogramSeries] = {}
        self._cohorts: dict[_Attempts, HistogramSeries] = {}
        self._calls: dict[tuple[str, str, str, str, str], HistogramSeries] = {}
        self._draws: dict[tuple[str, str, str, int], CounterSeries] = {}
        self._epochs: dict[tuple[str, str], list[int]] = {}
        self._table = Table()

    def attempt(self, lane: Lane, version: str, traffic: str, outcome: str, seconds: float, cohort: int = -1) -> None:
        """Counts an attempt that is charged to its version."""
        key = (lane.model, version, traffic, lane.segment, outcome, lane.epoch)
        self._of(self._attempts, catalog.ATTEMPT_DURATION, key).record(seconds)
        if cohort >= 0:
            self._of(self._cohorts, catalog.COHORT_ATTEMPT, key).record(cohort)

    def of_caller(self, lane: Lane, version: str, traffic: str, outcome: str, caller: str) -> None:
        """Counts an attempt for a caller whose segment a gate watches by itself."""
        at = (lane.model, version, traffic, lane.segment, outcome, str(lane.epoch), caller)
        self._store.counter(catalog.CALLER_ATTEMPT_COUNT, *at).add()

    def _of(self, known: dict[_Attempts, HistogramSeries], metric: catalog.Metric, key: _Attempts) -> HistogramSeries:
        series = known.get(key)
        if series is None:
            series = known[key] = self._store.histogram(metric, *key[:5], str(key[5]))
        return series

    def drawn(self, lane: Lane, arm: str) -> None:
        """Counts a request by the arm that was drawn for it, whoever answers it then."""
        key = (lane.model, lane.segment, arm, lane.epoch)
        series = self._draws.get(key)
        if series is None:
            series = self._draws[key] = self._store.counter(catalog.ROUTE_COUNT, *key[:3], str(lane.epoch))
        series.add()

    def call(self, lane: Lane, version: str, traffic: str, outcome: str, seconds: float) -> None:
        """Counts a call as its caller saw it."""
        key = (lane.model, version, traffic, lane.segment, outcome)
        series = self._calls.get(key)
        if series is None:
            series = self._calls[key] = self._store.histogram(catalog.ROUTE_DURATION, *key)
        series.record(seconds)

    def pair(self, lane: Lane, version: str, stable: str, test: str, rows: int) -> None:
        """Counts rows that stable and the test version answered so; both classes, or one word of how far apart."""
        self._store.counter(catalog.SHADOW_PAIR_COUNT, lane.model, version, "shadow", lane.segment, stable, test).add(
            rows
        )

    def dropped(self, lane: Lane, version: str, reason: str) -> None:
        """Counts a request that was not mirrored, or whose pair was not compared."""
        self._store.counter(catalog.SHADOW_DROPPED_COUNT, lane.model, version, "shadow", lane.segment, reason).add()

    def table(self, table: Table) -> None:
        """Shows the shares in force, and drops what belongs to lanes, versions and epochs that are gone."""
        before, self._table = self._table, table
        left = table.left_of(before)
        new = before.left_of(table)
        for lane in new:
            self._keep_epoch(lane)
            self._show(lane)
        # To look through all series takes long where there are many, and mostly nothing has ended. What calls in flight
        # count after that goes with what ends next of their model.
        if gone := _shown(left) - _shown(new):
            models = {values[0] for values in gone}
            self._store.drop(lambda metric, at: metric is catalog.ROUTE_SHARE and tuple(at.values()) in gone, models)
        if any((lane.model, lane.segment) not in table.lanes for lane in left) or any(
            (lane.model, version) not in table.held for lane in left for version in lane.classes
        ):
            self._forget(table, {lane.model for lane in left})

    def _show(self, lane: Lane) -> None:
        shares = {"test": lane.split.test, "control": lane.split.control}
        shares["stable"] = 10_000 - sum(shares.values())
        for name, target in lane.arms.items():
            gauge = self._store.gauge(catalog.ROUTE_SHARE, lane.model, target.version, name.value, lane.segment)
            gauge.set(shares[name.value])

    def _forget(self, table: Table, models: Collection[str]) -> None:
        """Drops what of these models belongs to other lanes than the table's, and to other versions than it holds."""
        lanes, held = table.lanes, table.held
        # Series of labels stay for a while, as these may come when the lane is gone: `FeedbackBook.follow`.
        self._store.drop(
            lambda metric, attributes: (
                (metric in _OF_LANES and (attributes["model"], attributes["segment"]) not in lanes)
                or (metric in _OF_VERSIONS and (attributes["model"], attributes["version"]) not in held)
            ),
            models,
        )
        self._epochs = {lane: epochs for lane, epochs in self._epochs.items() if lane in lanes}
        self._draws = {key: series for key, series in self._draws.items() if key[:2] in lanes}
        self._attempts, self._cohorts = (
            {key: series for key, series in known.items() if key[:2] in held and (key[0], key[3]) in lanes}
            for known in (self._attempts, self._cohorts)
        )
        self._calls = {
            key: series for key, series in self._calls.items() if key[:2] in held and (key[0], key[3]) in lanes
        }

    def _keep_epoch(self, lane: Lane) -> None:
        known = self._epochs.get((lane.model, lane.segment), [])
        if known[-1:] == [lane.epoch]:
            return
        # One that falls is of a database that was put back: the epochs above it never were, and will come anew.
        kept = [*(epoch for epoch in known if epoch < lane.epoch), lane.epoch][-catalog.KEPT_EPOCHS :]
        self._epochs[lane.model, lane.segment] = kept
        for gone in set(known).difference(kept):
            self._drop_epoch(lane, gone)

    def _drop_epoch(self, lane: Lane, epoch: int) -> None:
        self._store.drop(
            lambda metric, attributes: (
                metric in _OF_EPOCHS
                and attributes["epoch"] == str(epoch)
                and attributes["model"] == lane.model
                and attributes["segment"] == lane.segment
            ),
            (lane.model,),
        )
        for known in (self._attempts, self._cohorts):
            for key in [key for key in known if (key[0], key[3], key[5]) == (lane.model, lane.segment, epoch)]:
                del known[key]
        for arm in ("test", "control", "stable"):
            self._draws.pop((lane.model, lane.segment, arm, epoch), None)


def _shown(lanes: Iterable[Lane]) -> set[tuple[str, ...]]:
    """What the series of shares are about, as they have it."""
    return {
        (lane.model, target.version, name.value, lane.segment) for lane in lanes for name, target in lane.arms.items()
    }
