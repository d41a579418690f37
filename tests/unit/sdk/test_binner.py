"""Rows counted by the bins of a profile."""

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from crossfade.binner import Binner, bin_rows
from crossfade.profile import build_profile
from crossfade.reference_profile import Feature, FeatureKind
from tests.unit.sdk.columns import INF, NAN, RANGE, spec

_VALUES = st.sampled_from([-np.inf, -1e9, -3.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.5, 4.0, 1e9, np.inf, np.nan])


def _naive(feature: Feature, values: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    bins, invalid = [0] * len(feature.proportions), [0, 0, 0]
    for value in values:
        if np.isnan(value):
            invalid[NAN] += 1
            bins[-1] += feature.missing is not None
        elif np.isinf(value):
            invalid[INF] += 1
        elif feature.low is None or feature.high is None:
            bins[feature.edges.index(value) if value in feature.edges else feature.value_bins - 1] += 1
        else:
            bins[sum(edge <= value for edge in feature.edges)] += 1
            invalid[RANGE] += not feature.low <= value < feature.high
    return bins, invalid


@given(
    reference=hnp.arrays(np.float64, (12, 4), elements=st.sampled_from([-0.5, 0.0, 0.5, 1.0, 2.5, 4.0, np.nan])),
    batch=st.integers(0, 9).flatmap(lambda rows: hnp.arrays(np.float64, (rows, 4), elements=_VALUES)),
    categorical=st.sets(st.integers(0, 3)),
)
def test_counts_are_those_of_a_loop(
    reference: NDArray[np.float64], batch: NDArray[np.float64], categorical: set[int]
) -> None:
    profile = build_profile(spec(4), reference, categorical=sorted(categorical), bins=4)
    counts = bin_rows(profile, batch)

    for i, feature in enumerate(profile.features):
        bins, invalid = _naive(feature, batch[:, feature.index])
        assert counts.bins[i, : len(bins)].tolist() == bins
        assert not counts.bins[i, len(bins) :].any()
        assert counts.invalid[i].tolist() == invalid


def test_a_large_batch_counts_like_its_rows() -> None:
    rng = np.random.default_rng(4)
    reference = np.column_stack((rng.normal(size=1000), rng.integers(0, 5, 1000)))
    binner = Binner(build_profile(spec(2), reference, categorical=[1]).features)

    whole = binner.count(reference)
    one_by_one = [binner.count(reference[i : i + 1]) for i in range(1000)]

    np.testing.assert_array_equal(whole.bins, sum(counts.bins for counts in one_by_one))
    np.testing.assert_array_equal(whole.bins.sum(axis=1), 1000)


@given(
    reference=hnp.arrays(np.float64, (12, 4), elements=st.sampled_from([-0.5, 0.0, 0.5, 1.0, 2.5, 4.0, np.nan])),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    categorical=st.sets(st.integers(0, 3)),
    seed=st.integers(0, 9),
)
def test_batches_are_counted_each_by_itself(
    reference: NDArray[np.float64], sizes: list[int], categorical: set[int], seed: int
) -> None:
    profile = build_profile(spec(4), reference, categorical=sorted(categorical), bins=4)
    values = np.array([-np.inf, -1e9, -0.5, 0.0, 0.5, 1.0, 2.5, 4.0, 1e9, np.inf, np.nan])
    rows = np.random.default_rng(seed).choice(values, (sum(sizes), 4))
    binner = Binner(profile.features)

    counts = binner.count_parts(rows, np.array(sizes))

    parts = [binner.count(part) for part in np.split(rows, np.cumsum(sizes)[:-1])]
    np.testing.assert_array_equal(counts.bins, [part.bins for part in parts])
    np.testing.assert_array_equal(counts.invalid, sum(part.invalid for part in parts))


def test_a_batch_of_pictures_is_counted_without_a_copy_of_it_in_numbers() -> None:
    feature = Feature("pixel", 70_000, FeatureKind.NUMERIC, (1.0,), (0.5, 0.5), 0.0, 255.0)
    binner, batch = Binner((feature,)), np.ones((100, 150_000), np.uint8)

    tracemalloc.start()
    try:
        counts = binner.count(batch)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert counts.bins.tolist() == [[0, 100]]
    # In double precision the whole of it takes 120 MB.
    assert most < 1_000_000


def _steps(work: Callable[[], object]) -> int:
    """How many steps Python's interpreter takes, whatever compiled code does in each."""
    taken = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal taken
        frame.f_trace_opcodes = True
        taken += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return taken


def test_no_loop_of_pythons_own_goes_over_a_batchs_values() -> None:
    rng = np.random.default_rng(5)
    steps = set()
    for features, rows in ((4, 1), (4, 200), (64, 1), (64, 200)):
        binner = Binner(build_profile(spec(features), rng.normal(size=(500, features))).features)
        batch = rng.normal(size=(rows, features)).astype(np.float32)
        sizes = np.ones(rows, dtype=np.int64)
        steps.add((_steps(partial(binner.count, batch)), _steps(partial(binner.count_parts, batch, sizes))))
    assert len(steps) == 1
