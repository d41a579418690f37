"""Counting a version's inputs by feature and bin, and how alike those of one request are."""

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crossfade.binner import INVALID_REASONS, Binner
from crossfade.reference_profile import Profile
from crossfade.tensor_spec import DType
from services.common.telemetry import catalog
from services.common.telemetry.catalog import Metric
from services.common.telemetry.store import CounterSeries, MetricStore, SpreadSeries
from services.worker.domain import Traffic
from services.worker.shared_memory.tensors import to_numbers

_BINNED_ROWS: Final = 256
_BINNED_BYTES: Final = 4 << 20
"""Inputs are binned when as many rows or bytes of them wait."""


Kind = tuple[Traffic, str]
"""A kind of traffic, and the segment whose lane it is of."""


class InputCounter:
    """Counts inputs of one type against one reference profile, and what no bin holds if `invalid`."""

    def __init__(
        self, store: MetricStore, arm: tuple[str, str], profile: Profile, dtype: DType, *, invalid: bool
    ) -> None:
        self.profile = profile
        self._dtype = dtype
        self._store = store
        self._arm = arm
        self._binner = Binner(profile.features)
        self._counts_invalid = invalid
        self._labels = [tuple(map(str, range(len(feature.proportions)))) for feature in profile.features]
        self._waiting: dict[Kind, list[npt.NDArray[Any]]] = {}
        self._rows = 0
        self._bytes = 0
        self._series: dict[Kind, list[SpreadSeries]] = {}
        self._products: dict[Kind, list[tuple[SpreadSeries, SpreadSeries]]] = {}
        self._invalid: dict[tuple[Traffic, int, int], CounterSeries] = {}

    def add(self, kind: Kind, rows: npt.NDArray[Any]) -> None:
        self._waiting.setdefault(kind, []).append(rows)
        self._rows += len(rows)
        self._bytes += rows.nbytes
        if self._rows >= _BINNED_ROWS or self._bytes >= _BINNED_BYTES:
            self.flush()

    def flush(self) -> None:
        for kind, parts in self._waiting.items():
            small = [part for part in parts if len(part) <= _BINNED_ROWS]
            if all(len(part) == 1 for part in small):
                if small:
                    # Requests of one row each cannot be alike among themselves.
                    self._count(kind, np.concatenate(small))
            else:
                self._count_requests(kind, small)
            for part in parts:
                if len(part) > _BINNED_ROWS:
                    self._add_products(kind, self._count(kind, part)[np.newaxis])
        self._waiting.clear()
        self._rows = self._bytes = 0

    def forget(self, segments: Collection[str]) -> None:
        """Counts in those segments by new series from now on; whoever keeps the series drops the old ones."""
        self.flush()
        for series in (self._series, self._products):
            for kind in [one for one in series if one[1] in segments]:
                del series[kind]

    def _count(self, kind: Kind, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Counts rows, and answers how many each bin has, [features, bins]."""
        counts = self._binner.count(self._numbers(rows))
        self._add(kind, counts.bins, counts.invalid)
        return counts.bins

    def _count_requests(self, kind: Kind, parts: list[npt.NDArray[Any]]) -> None:
        sizes = np.array([len(part) for part in parts])
        counts = self._binner.count_parts(self._numbers(np.concatenate(parts)), sizes)
        self._add(kind, counts.bins.sum(axis=0), counts.invalid)
        self._add_products(kind, counts.bins[sizes > 1])

    def _numbers(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # bfloat16 comes as its bits.
        return to_numbers(self._dtype, rows) if self._dtype is DType.BF16 else rows

    def _add(self, kind: Kind, bins: npt.NDArray[np.int64], invalid: npt.NDArray[np.int64]) -> None:
        series = self._series.get(kind)
        if series is None:
            series = self._series[kind] = self._spreads(catalog.INPUT_COUNT, kind)
        for one, labels, counts in zip(series, self._labels, bins, strict=True):
            one.add(counts[: len(labels)].tolist())
        if not self._counts_invalid:
            return
        for feature, reason in zip(*np.nonzero(invalid), strict=True):
            self._invalid_series(kind[0], int(feature), int(reason)).add(int(invalid[feature, reason]))

    def _add_products(self, kind: Kind, bins: npt.NDArray[np.int64]) -> None:
        """Adds what requests of several rows say of how alike these are; bins: [requests, features, bins]."""
        series = self._products.get(kind)
        if series is None:
            both = [self._spreads(catalog.INPUT_ALIKE, kind, product) for product in catalog.ALIKE_PRODUCTS]
            series = self._products[kind] = list(zip(*both, strict=True))
        up_to = bins.cumsum(axis=-1)
        with_own = (up_to * (up_to - 1)).sum(axis=0)
        # Of all that are in a bin: a value that is missing may be in none.
        with_all = (up_to * (up_to[..., -1:] - 1)).sum(axis=0)
        for (own, every), labels, first, second in zip(series, self._labels, with_own, with_all, strict=True):
            own.add(first[: len(labels)].tolist())
            every.add(second[: len(labels)].tolist())

    def _spreads(self, metric: Metric, kind: Kind, *more: str) -> list[SpreadSeries]:
        """A series per feature, over its bins."""
        traffic, segment = kind
        at = (*self._arm, traffic.value, segment)
        return [
            self._store.spread(metric, labels, *at, feature.name, self.profile.id, *more)
            for feature, labels in zip(self.profile.features, self._labels, strict=True)
        ]

    def _invalid_series(self, traffic: Traffic, feature: int, reason: int) -> CounterSeries:
        key = (traffic, feature, reason)
        series = self._invalid.get(key)
        if series is None:
            name = self.profile.features[feature].name
            series = self._invalid[key] = self._store.counter(
                catalog.INPUT_INVALID_COUNT, *self._arm, traffic.value, name, INVALID_REASONS[reason]
            )
        return series
