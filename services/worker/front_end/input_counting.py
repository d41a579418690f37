"""Counting a version's inputs by feature and bin, and how alike those of one request are."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crossfade.binner import INVALID_REASONS, Binner
from crossfade.manifest import DType
from crossfade.reference_profile import Profile
from services.common.telemetry import catalog
from services.common.telemetry.catalog import Metric
from services.common.telemetry.store import CounterSeries, MetricStore, SpreadSeries
from services.worker.domain import Traffic
from services.worker.shared_memory.tensors import to_numbers

_BINNED_ROWS: Final = 256
_BINNED_BYTES: Final = 4 << 20
"""Inputs are binned when as many rows or bytes of them wait."""


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
        self._waiting: dict[Traffic, list[npt.NDArray[Any]]] = {}
        self._rows = 0
        self._bytes = 0
        self._series: dict[Traffic, list[SpreadSeries]] = {}
        self._products: dict[Traffic, list[tuple[SpreadSeries, SpreadSeries]]] = {}
        self._invalid: dict[tuple[Traffic, int, int], CounterSeries] = {}

    def add(self, traffic: Traffic, rows: npt.NDArray[Any]) -> None:
        self._waiting.setdefault(traffic, []).append(rows)
        self._rows += len(rows)
        self._bytes += rows.nbytes
        if self._rows >= _BINNED_ROWS or self._bytes >= _BINNED_BYTES:
            self.flush()

    def flush(self) -> None:
        for traffic, parts in self._waiting.items():
            small = [part for part in parts if len(part) <= _BINNED_ROWS]
            if all(len(part) == 1 for part in small):
                if small:
                    # Requests of one row each cannot be alike among themselves.
                    self._count(traffic, np.concatenate(small))
            else:
                self._count_requests(traffic, small)
            for part in parts:
                if len(part) > _BINNED_ROWS:
                    self._add_products(traffic, self._count(traffic, part)[np.newaxis])
        self._waiting.clear()
        self._rows = self._bytes = 0

    def _count(self, traffic: Traffic, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Counts rows, and answers how many each bin has, [features, bins]."""
        counts = self._binner.count(self._numbers(rows))
        self._add(traffic, counts.bins, counts.invalid)
        return counts.bins

    def _count_requests(self, traffic: Traffic, parts: list[npt.NDArray[Any]]) -> None:
        sizes = np.array([len(part) for part in parts])
        counts = self._binner.count_parts(self._numbers(np.concatenate(parts)), sizes)
        self._add(traffic, counts.bins.sum(axis=0), counts.invalid)
        self._add_products(traffic, counts.bins[sizes > 1])

    def _numbers(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # bfloat16 comes as its bits.
        return to_numbers(self._dtype, rows) if self._dtype is DType.BF16 else rows

    def _add(self, traffic: Traffic, bins: npt.NDArray[np.int64], invalid: npt.NDArray[np.int64]) -> None:
        series = self._series.get(traffic)
        if series is None:
            series = self._series[traffic] = self._spreads(catalog.INPUT_COUNT, traffic)
        for one, labels, counts in zip(series, self._labels, bins, strict=True):
            one.add(counts[: len(labels)].tolist())
        if not self._counts_invalid:
            return
        for feature, reason in zip(*np.nonzero(invalid), strict=True):
            self._invalid_series(traffic, int(feature), int(reason)).add(int(invalid[feature, reason]))

    def _add_products(self, traffic: Traffic, bins: npt.NDArray[np.int64]) -> None:
        """Adds what requests of several rows say of how alike these are; bins: [requests, features, bins]."""
        series = self._products.get(traffic)
        if series is None:
            both = [self._spreads(catalog.INPUT_ALIKE, traffic, product) for product in catalog.ALIKE_PRODUCTS]
            series = self._products[traffic] = list(zip(*both, strict=True))
        up_to = bins.cumsum(axis=-1)
        with_own = (up_to * (up_to - 1)).sum(axis=0)
        # Of all that are in a bin: a value that is missing may be in none.
        with_all = (up_to * (up_to[..., -1:] - 1)).sum(axis=0)
        for (own, every), labels, first, second in zip(series, self._labels, with_own, with_all, strict=True):
            own.add(first[: len(labels)].tolist())
            every.add(second[: len(labels)].tolist())

    def _spreads(self, metric: Metric, traffic: Traffic, *more: str) -> list[SpreadSeries]:
        """A series per feature, over its bins."""
        at = (*self._arm, traffic.value)
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
