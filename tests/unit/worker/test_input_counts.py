"""What a process counts of inputs, by profile, lane and bin."""

import dataclasses

import numpy as np

from crossfade.reference_profile import Feature, FeatureKind, Profile
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from services.worker.domain import Traffic
from services.worker.front_end.counting import Counting
from services.worker.shared_memory.tensors import to_stored
from tests.unit.worker.counted import counting, found, manifest, place, profile


def test_inputs_of_live_and_control_by_both_profiles() -> None:
    counts = counting()
    other = profile(edge=0.9, name="a")
    counts.compare_with([other, profile()])
    rows = [np.array([[0.1, 0], [0.6, 0], [np.nan, 0], [99.0, 0]], np.float32)]
    counts.inputs(place(), rows)
    counts.inputs(place(traffic=Traffic.CONTROL), rows)
    counts.inputs(place(traffic=Traffic.PINNED), rows)
    snapshots = counts.snapshot()
    inputs = found(snapshots, catalog.INPUT_COUNT)
    assert {key[2:]: one.counts for key, one in inputs.items()} == {
        ("live", "", "a", profile().id): (1, 2),
        ("control", "", "a", profile().id): (1, 2),
        ("live", "", "a", other.id): (2, 1),
        ("control", "", "a", other.id): (2, 1),
    }
    invalid = found(snapshots, catalog.INPUT_INVALID_COUNT)
    assert {key[2:]: one.counts for key, one in invalid.items()} == {
        ("live", "a", "nan"): (1,),
        ("live", "a", "range"): (1,),
        ("control", "a", "nan"): (1,),
        ("control", "a", "range"): (1,),
    }


def test_inputs_are_counted_by_lane() -> None:
    counts = counting()
    for segment, value in (("", 0.1), ("eu", 0.9), ("eu", 0.8)):
        counts.inputs(place(segment), [np.array([[value, 0]], np.float32)])
    counts.inputs(place("eu"), [np.array([[0.9, 0], [0.1, 0]], np.float32)])
    snapshots = counts.snapshot()
    inputs = {key[3]: one.counts for key, one in found(snapshots, catalog.INPUT_COUNT).items()}
    assert inputs == {"": (1, 0), "eu": (1, 3)}
    assert {key[3] for key in found(snapshots, catalog.INPUT_ALIKE)} == {"eu"}


def test_products_of_inputs_say_how_alike_the_rows_of_a_request_are() -> None:
    counts = counting()
    # Below the profile's edge of 0.5, or not; missing values are in no bin.
    for request in ([0.1], [0.1, 0.2, 0.9], [0.9, 0.8], [0.1, np.nan]):
        counts.inputs(place(), [np.array([[value, 0] for value in request], np.float32)])
    counts.inputs(place(traffic=Traffic.CONTROL), [np.array([[0.1, 0]], np.float32)])
    snapshots = counts.snapshot()
    assert found(snapshots, catalog.INPUT_COUNT)["m", "v1", "live", "", "a", profile().id].counts == (4, 3)
    series = {key[2:]: one.counts for key, one in found(snapshots, catalog.INPUT_ALIKE).items()}
    # Up to each bin: k (k - 1), and k (n - 1).
    assert series == {
        ("live", "", "a", profile().id, "class"): (2, 6 + 2),
        ("live", "", "a", profile().id, "rows"): (4, 6 + 2),
    }


def test_products_of_large_requests_are_counted_like_those_of_small_ones() -> None:
    rows = np.random.default_rng(2).random((300, 2)).astype(np.float32)
    counts = counting()
    counts.inputs(place(), [rows[:2]])
    counts.inputs(place(), [rows])
    snapshots = counts.snapshot()
    below = int((rows[:, 0] < 0.5).sum())
    first = int((rows[:2, 0] < 0.5).sum())
    assert [one.counts for one in found(snapshots, catalog.INPUT_COUNT).values()] == [
        (below + first, 302 - below - first)
    ]
    series = {key[-1]: one.counts for key, one in found(snapshots, catalog.INPUT_ALIKE).items()}
    assert series["class"] == (below * (below - 1) + first * (first - 1), 300 * 299 + 2)
    assert series["rows"] == (below * 299 + first, 300 * 299 + 2)


def test_missing_inputs_are_counted_in_their_bin() -> None:
    feature = Feature("a", 0, FeatureKind.NUMERIC, (0.5,), (0.4, 0.4, 0.2), -10.0, 10.0)
    gapped = Profile.of("x", 100, (feature,), None, None)
    counts = Counting(MetricStore(), "m", "v1", dataclasses.replace(manifest(), profile=gapped), "fp32")
    counts.inputs(place(), [np.array([[0.1, 0], [np.nan, 0], [np.nan, 0], [np.inf, 0]], np.float32)])
    snapshots = counts.snapshot()
    (inputs,) = found(snapshots, catalog.INPUT_COUNT).values()
    assert dict(zip(inputs.labels, inputs.counts, strict=True)) == {"0": 1, "1": 0, "2": 2}
    invalid = found(snapshots, catalog.INPUT_INVALID_COUNT)
    assert {key[4]: one.counts for key, one in invalid.items()} == {"nan": (2,), "inf": (1,)}


def test_a_profile_of_an_input_that_is_not_there_is_left_out() -> None:
    counts = counting()
    counts.compare_with([Profile.of("y", 100, (), None, None)])
    counts.inputs(place(), [np.zeros((1, 2), np.float32)])
    assert {key[5] for key in found(counts.snapshot(), catalog.INPUT_COUNT)} == {profile().id}


def test_inputs_in_bfloat16_are_counted_by_their_values() -> None:
    signature = Signature((TensorSpec("x", DType.BF16, (-1, 2)),), manifest().signature.outputs)
    counts = Counting(MetricStore(), "m", "v1", dataclasses.replace(manifest(), signature=signature), "fp32")
    rows = np.array([[0.25, 0], [0.75, 0], [-3.0, 0], [np.nan, 0]], np.float32)
    counts.inputs(place(), [to_stored(DType.BF16, rows)])
    snapshots = counts.snapshot()
    assert [one.counts for one in found(snapshots, catalog.INPUT_COUNT).values()] == [(2, 1)]
    assert {key[4]: one.counts for key, one in found(snapshots, catalog.INPUT_INVALID_COUNT).items()} == {"nan": (1,)}
