"""What a version's process counts of each request and each batch (the metrics that the Evaluator judges by).

A request pays a few microseconds: series are looked up once and kept, inputs are binned some hundred rows at a time.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

import numpy.typing as npt

from crossfade.manifest import Manifest
from crossfade.reference_profile import Profile
from services.common.left import LANE_SECONDS, Left
from services.common.telemetry import catalog
from services.common.telemetry.catalog import Metric
from services.common.telemetry.store import CounterSeries, HistogramSeries, MetricStore, Snapshot, SpreadSeries
from services.worker.domain import Traffic
from services.worker.front_end.input_counting import InputCounter
from services.worker.front_end.lanes import Place

OTHER: Final = "other"
_KEPT_TALLIES: Final = 1024
_OF_SLICES: Final = frozenset({catalog.PREDICTION_COUNT, catalog.CALLER_PREDICTION_COUNT, catalog.PREDICTION_ALIKE})
_OF_LANES: Final = _OF_SLICES | {catalog.WORKER_DURATION, catalog.INPUT_COUNT, catalog.INPUT_ALIKE}
_COUNTED: Final = frozenset({Traffic.LIVE, Traffic.CONTROL, Traffic.SHADOW})


class Counting:
    """The series of one version's process. One thread (the event loop's) writes and reads.

    Args:
        store: where they are kept.
        model: the model's id.
        version: the version's id.
        manifest: declares the classes and the reference profile.
        precision: what the version runs in.
    """

    def __init__(self, store: MetricStore, model: str, version: str, manifest: Manifest, precision: str) -> None:
        self._store = store
        self._arm = (model, version)
        self._precision = precision
        named = manifest.classes or ()
        self._classes = (*(named if len(named) <= catalog.COUNTED_CLASSES else ()), OTHER)
        self._tallies: dict[Place, Tally] = {}
        self._batches: dict[tuple[Traffic, int], HistogramSeries] = {}
        self._slices: dict[str, list[tuple[int, int]]] = {}
        # The slice in which the latest request of each segment came.
        self._present: dict[str, tuple[int, int]] = {}
        self._newest: dict[str, int] = {}
        self._segments: set[str] = set()
        self._left = Left[str](LANE_SECONDS)
        self._slots = {spec.name: slot for slot, spec in enumerate(manifest.signature.inputs)}
        self._widths = {spec.name: spec.width for spec in manifest.signature.inputs}
        self._dtypes = {spec.name: spec.dtype for spec in manifest.signature.inputs}
        self._own = self._counter(manifest.profile, invalid=True) if manifest.profile else None
        self._compared: list[InputCounter] = []

    def compare_with(self, profiles: Sequence[Profile]) -> None:
        """Counts inputs against these reference profiles too; its own and those of other inputs are left out."""
        kept = {counter.profile.id: counter for counter in self._compared}
        own = self._own.profile.id if self._own else ""
        wanted = {profile.id: profile for profile in profiles if profile.id != own and self._fits(profile)}
        for profile_id, counter in kept.items():
            if profile_id not in wanted:
                counter.flush()
        self._compared = [kept.get(key) or self._counter(wanted[key], invalid=False) for key in wanted]

    def _counter(self, profile: Profile, *, invalid: bool) -> "InputCounter":
        return InputCounter(self._store, self._arm, profile, self._dtypes[profile.input], invalid=invalid)

    def _fits(self, profile: Profile) -> bool:
        width = self._widths.get(profile.input)
        return width is not None and all(feature.index < width for feature in profile.features)

    def arrived(self, place: Place) -> "Tally":
        """What a request that came just now is counted by: its slice is the present one."""
        self._present[place.segment] = place.epoch, place.slice_number
        return self.at(place)

    def at(self, place: Place) -> "Tally":
        """What requests in this place are counted by."""
        tally = self._tallies.get(place)
        if tally is None:
            if len(self._tallies) >= _KEPT_TALLIES:
                self._tallies.clear()
            self._segments.add(place.segment)
            keeps = self._keep_slice(place.segment, (place.epoch, place.slice_number))
            tally = self._tallies[place] = Tally(self._store, self._arm, place, self._classes if keeps else ())
        return tally

    def batch(self, traffic: Traffic, rows: int, seconds: float) -> None:
        """Counts one batch, under the power of two at or above its rows."""
        size = 1 << (rows - 1).bit_length()
        key = (traffic, size)
        series = self._batches.get(key)
        if series is None:
            series = self._batches[key] = self._store.histogram(
                catalog.INFERENCE_DURATION, *self._arm, traffic.value, str(size), self._precision
            )
        series.record(seconds)

    def inputs(self, place: Place, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Counts the rows of a request of live, control or shadow traffic, by the profiles' bins.

        Args:
            place: its lane and kind of traffic.
            arrays: one per input of the signature, in its order, each [rows, ...].
        """
        if place.traffic not in _COUNTED:
            return
        kind = place.traffic, place.segment
        if self._own is not None:
            self._own.add(kind, arrays[self._slots[self._own.profile.input]])
        for counter in self._compared:
            counter.add(kind, arrays[self._slots[counter.profile.input]])

    def keep_epochs(self, newest: Mapping[str, int]) -> None:
        """Drops what belongs to older epochs than the last four of each segment; `newest` is the epoch in force.

        Where that is less than it was, the Registry's database was put back: what was counted under epochs that never
        were is dropped too. It would pass for the newest, and all that is counted from now on for old.
        """
        fallen = {segment: epoch for segment, epoch in newest.items() if epoch < self._newest.get(segment, 0)}
        self._newest.update(newest)

        def is_over(metric: Metric, attributes: Mapping[str, str]) -> bool:
            if metric is not catalog.WORKER_DURATION and metric not in _OF_SLICES:
                return False
            segment = attributes["segment"]
            if metric in _OF_SLICES:
                return segment in fallen and int(attributes["slice"].partition(".")[0]) > fallen[segment]
            epoch = int(attributes["epoch"])
            if segment in fallen and epoch > fallen[segment]:
                return True
            return epoch <= newest.get(segment, 0) - catalog.KEPT_EPOCHS

        self._store.drop(is_over)
        for segment, epoch in fallen.items():
            self._slices[segment] = [one for one in self._slices.get(segment, ()) if one[0] <= epoch]
        self._tallies.clear()

    def keep_lanes(self, held: Container[str], now: float) -> None:
        """Drops what belongs to lanes that the version left a while ago.

        Args:
            held: segments of those that it is in.
            now: seconds, on a clock that only goes forward.
        """
        over = self._left.over(self._segments, held, now)
        if not over:
            return
        for counter in self._counters:
            counter.forget(over)
        self._store.drop(lambda metric, attributes: metric in _OF_LANES and attributes["segment"] in over)
        for segment in over:
            self._slices.pop(segment, None)
            self._present.pop(segment, None)
            self._newest.pop(segment, None)
        self._segments -= over
        self._tallies.clear()

    def snapshot(self) -> list[Snapshot]:
        """Every series at this moment."""
        for counter in self._counters:
            counter.flush()
        return self._store.snapshot()

    @property
    def _counters(self) -> list[InputCounter]:
        return [*self._compared] if self._own is None else [self._own, *self._compared]

    def _keep_slice(self, segment: str, here: tuple[int, int]) -> bool:
        """Whether a slice is kept; a newer one than all pushes the oldest out, with its series.

        Those that lie in the future were counted by a clock that was set back since. They have room of their own, for
        they would be the newest until that time comes, and keep all others out.
        """
        kept = self._slices.setdefault(segment, [])
        if here in kept:
            return True
        epoch, number = self._present.get(segment, max(kept, default=here))
        past = [one for one in kept if one[0] != epoch or one[1] <= number]
        if len(past) >= catalog.KEPT_SLICES and here < past[0]:
            return False
        kept.append(here)
        kept.sort()
        if len(past) >= catalog.KEPT_SLICES:
            epoch, number = past[0]
            kept.remove(past[0])
            name = f"{epoch}.{number}"
            self._store.drop(
                lambda metric, attributes: (
                    metric in _OF_SLICES and attributes["segment"] == segment and attributes["slice"] == name
                )
            )
            self._tallies.clear()
        return True


class Tally:
    """The series of one place.

    Args:
        store: where they are kept.
        arm: model and version.
        place: the place.
        classes: names of the classes, the last one for what is none of them; empty: its slice is not kept any more.
    """

    __slots__ = ("_alike", "_by_caller", "_calls", "_classes", "_names", "_place", "_predicted", "_queue", "_store")

    def __init__(self, store: MetricStore, arm: tuple[str, str], place: Place, classes: tuple[str, ...]) -> None:
        self._store = store
        self._names = (*arm, place.traffic.value)
        self._place = place
        self._classes = classes
        self._calls: dict[str, HistogramSeries] = {}
        # Made when they are first counted in, so that no series is empty.
        self._queue: HistogramSeries | None = None
        self._predicted: SpreadSeries | None = None
        self._by_caller: CounterSeries | None = None
        self._alike: tuple[SpreadSeries, SpreadSeries] | None = None

    def call(self, outcome: str, seconds: float) -> None:
        """Counts one call that was accepted. `outcome` is `ok` or the gRPC code's name."""
        series = self._calls.get(outcome)
        if series is None:
            place = self._place
            at = (*self._names, place.segment, outcome, str(place.epoch))
            series = self._calls[outcome] = self._store.histogram(catalog.WORKER_DURATION, *at)
        series.record(seconds)

    def stream(self, outcome: str, seconds: float, parts: int) -> None:
        """Counts one answer in parts, when it has ended."""
        self._store.histogram(catalog.STREAM_DURATION, *self._names, outcome).record(seconds)
        if parts:
            self._store.counter(catalog.STREAM_PART_COUNT, *self._names).add(parts)

    def queued(self, seconds: float) -> None:
        """Counts how long one request waited for the device."""
        if self._queue is None:
            self._queue = self._store.histogram(catalog.QUEUE_DURATION, *self._names)
        self._queue.record(seconds)

    def predicted(self, classes: Sequence[int]) -> None:
        """Counts the predicted class of each row, by its index."""
        if self._predicted is None:
            if not self._classes:
                return
            self._predicted = self._predictions()
        counts, other = self._predicted.counts, len(self._classes) - 1
        known = [index if 0 <= index < other else other for index in classes]
        for index in known:
            counts[index] += 1
        if self._by_caller is not None:
            self._by_caller.add(len(classes))
        if len(known) > 1:
            self._count_alike(known)

    def _count_alike(self, classes: Sequence[int]) -> None:
        """The products of one request's rows, which are none where it has one row."""
        if self._alike is None:
            own, every = (
                self._store.spread(catalog.PREDICTION_ALIKE, self._classes, *self._in_slice, product)
                for product in catalog.ALIKE_PRODUCTS
            )
            self._alike = own, every
        own, every = self._alike
        others = len(classes) - 1
        for index, count in Counter(classes).items():
            own.counts[index] += count * (count - 1)
            every.counts[index] += count * others

    def _predictions(self) -> SpreadSeries:
        at, caller = self._in_slice, self._place.caller
        if caller:
            self._by_caller = self._store.counter(catalog.CALLER_PREDICTION_COUNT, *at, caller)
        return self._store.spread(catalog.PREDICTION_COUNT, self._classes, *at)

    @property
    def _in_slice(self) -> tuple[str, ...]:
        place = self._place
        return (*self._names, place.segment, f"{place.epoch}.{place.slice_number}")
