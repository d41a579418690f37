"""What a process counts, how it crosses the pipe, and how the supervisor adds it up."""

import asyncio
import dataclasses

import numpy as np

from crossfade.manifest import DType, FileEntry, Golden, Kind, Manifest, Signature, Task, TensorSpec, Tolerance
from crossfade.reference_profile import Feature, FeatureKind, Profile
from services.common.kept_slices import ROOM, room_of
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore, Snapshot
from services.worker.domain import Context, FailureCode, Lane, LaneContext, ServingKey, Traffic
from services.worker.front_end.counting import Counting
from services.worker.front_end.lanes import Place
from services.worker.pipes import messages
from services.worker.shared_memory.tensors import to_stored
from services.worker.supervisor.totals import RETENTION_SECONDS, Totals

LIVE = Traffic.LIVE


def profile(edge: float = 0.5, name: str = "a") -> Profile:
    feature = Feature(name, 0, FeatureKind.NUMERIC, (edge,), (0.5, 0.5), -10.0, 10.0)
    return Profile.of("x", 100, (feature,), None, None)


def manifest() -> Manifest:
    signature = Signature((TensorSpec("x", DType.FP32, (-1, 2)),), (TensorSpec("scores", DType.FP32, (-1, 3)),))
    return Manifest(
        format_version=1,
        created_by="test",
        kind=Kind.TORCH_EXPORT,
        torch="2.13",
        program="p",
        task=Task.CLASSIFICATION,
        signature=signature,
        max_batch=8,
        classes=("low", "middle", "high"),
        positive_class=None,
        scores="scores",
        profile=profile(),
        golden=Golden("g", 1),
        tolerance=Tolerance(0.1, 0.1),
        files=(FileEntry("p", "0" * 64, 1), FileEntry("g", "0" * 64, 1)),
    )


def counting() -> Counting:
    return Counting(MetricStore(), "m", "v1", manifest(), "fp32")


def place(segment: str = "", epoch: int = 1, slice_number: int = 1, traffic: Traffic = LIVE) -> Place:
    return Place(traffic, segment, epoch, slice_number, refused=False, traffic_number=1)


def found(snapshots: list[Snapshot], metric: catalog.Metric) -> dict[tuple[str, ...], Snapshot]:
    return {one.attributes: one for one in snapshots if one.metric is metric}


def test_calls_batches_and_queues() -> None:
    counts = counting()
    tally = counts.at(place(epoch=3))
    tally.call("ok", 0.004)
    tally.call("INTERNAL", 0.004)
    counts.at(place(epoch=3)).call("ok", 0.5)
    for rows in (1, 3, 4, 5):
        counts.batch(LIVE, rows, 0.002)
    tally.queued(0.001)
    snapshots = counts.snapshot()
    calls = found(snapshots, catalog.WORKER_DURATION)
    assert {key[2:]: sum(one.counts) for key, one in calls.items()} == {
        ("live", "", "ok", "3"): 2,
        ("live", "", "INTERNAL", "3"): 1,
    }
    batches = found(snapshots, catalog.INFERENCE_DURATION)
    assert {key[3]: sum(one.counts) for key, one in batches.items()} == {"1": 1, "4": 2, "8": 1}
    assert all(key[4] == "fp32" for key in batches)
    assert sum(found(snapshots, catalog.QUEUE_DURATION)["m", "v1", "live"].counts) == 1


def test_predictions_by_slice_keep_the_last_sixteen() -> None:
    counts = counting()
    for number in range(20):
        counts.at(place(slice_number=number)).predicted([0, 2, 2, 7])
    counts.at(place(slice_number=0)).predicted([1])
    series = found(counts.snapshot(), catalog.PREDICTION_COUNT)
    assert sorted(int(key[4].removeprefix("1.")) for key in series) == list(range(4, 20))
    alike = found(counts.snapshot(), catalog.PREDICTION_ALIKE)
    assert {key[4] for key in alike} == {key[4] for key in series}
    one = series["m", "v1", "live", "", "1.19"]
    assert dict(zip(one.labels, one.counts, strict=True)) == {"low": 1, "middle": 0, "high": 2, "other": 1}


def test_products_of_predictions_say_how_alike_the_rows_of_a_request_are() -> None:
    counts = counting()
    requests = [[0], [0, 0, 1], [2, 2], [1, 7]]
    for classes in requests:
        counts.at(place()).predicted(classes)
    series = {key[-1]: one.counts for key, one in found(counts.snapshot(), catalog.PREDICTION_ALIKE).items()}
    # low, middle, high, other: k (k - 1), and k (n - 1).
    assert series == {"class": (2, 0, 2, 0), "rows": (4, 3, 2, 1)}


def test_only_the_last_four_epochs_are_kept() -> None:
    counts = counting()
    for epoch in range(1, 7):
        counts.at(place(epoch=epoch)).call("ok", 0.001)
    counts.at(place("eu")).call("ok", 0.001)
    counts.keep_epochs({"": 6, "eu": 2})
    kept = found(counts.snapshot(), catalog.WORKER_DURATION)
    assert {(key[3], key[5]) for key in kept} == {("", "3"), ("", "4"), ("", "5"), ("", "6"), ("eu", "1")}
    counts.at(place(epoch=6)).call("ok", 0.001)
    again = found(counts.snapshot(), catalog.WORKER_DURATION)
    assert sum(again["m", "v1", "live", "", "ok", "6"].counts) == 2


def test_where_an_epoch_falls_what_comes_is_counted_and_what_never_was_is_dropped() -> None:
    counts = counting()
    counts.keep_epochs({"": 20, "eu": 20})
    for segment in ("", "eu"):
        for number in range(100, 120):
            tally = counts.at(place(segment, epoch=20, slice_number=number))
            tally.predicted([0, 0])
            tally.call("ok", 0.001)
    # The Registry's database was put back to when the epoch of one lane was 12.
    counts.keep_epochs({"": 12, "eu": 20})
    for number in range(120, 130):
        tally = counts.at(place(epoch=12, slice_number=number))
        tally.predicted([0, 0])
        tally.call("ok", 0.001)
    snapshots = counts.snapshot()
    for metric in (catalog.PREDICTION_COUNT, catalog.PREDICTION_ALIKE):
        slices = {key[4] for key in found(snapshots, metric) if key[3] == ""}
        assert slices == {f"12.{number}" for number in range(120, 130)}
        assert {key[4] for key in found(snapshots, metric) if key[3] == "eu"} == {f"20.{n}" for n in range(104, 120)}
    assert {(key[3], key[5]) for key in found(snapshots, catalog.WORKER_DURATION)} == {("", "12"), ("eu", "20")}


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


async def test_messages_cross_the_pipe() -> None:
    counts = counting()
    counts.at(place()).predicted([0, 1])
    counts.at(place()).call("ok", 0.25)
    snapshots = counts.snapshot()
    reader = asyncio.StreamReader()
    tell = messages.Tell(Context((LaneContext("eu", 2, 1.5),), ("eu",), ("v0",)), ("/a",))
    failed = messages.Failed(FailureCode.VERIFY_FAILED, "ärger")
    reader.feed_data(messages.pack(tell) + messages.pack(failed) + messages.pack_counts(7, snapshots))
    reader.feed_eof()
    assert await messages.read(reader) == (tell, b"")
    assert await messages.read(reader) == (failed, b"")
    frame = await messages.read(reader)
    assert frame is not None
    message, binary = frame
    assert isinstance(message, messages.Counts)
    assert message.number == 7
    assert messages.unpack_counts(message, binary) == snapshots
    assert await messages.read(reader) is None


def call_counts(number: int, epoch: int = 1) -> list[Snapshot]:
    counts = counting()
    for _ in range(number):
        counts.at(place(epoch=epoch)).call("ok", 0.001)
    return counts.snapshot()


def lane(epoch: int) -> Lane:
    return Lane("m", "", epoch, 1.0, (), frozenset(), "", "")


def calls_of(totals: Totals) -> int:
    return sum(sum(one.counts) for one in totals.sum())


def test_the_counts_of_the_dead_are_kept() -> None:
    totals, key = Totals(), ServingKey("m", "v1", LIVE)
    totals.update(key, call_counts(3))
    totals.ended(key)
    totals.update(key, call_counts(4))
    assert calls_of(totals) == 7
    totals.update(key, call_counts(5))
    totals.ended(key)
    totals.ended(key)
    assert calls_of(totals) == 8


def test_old_epochs_and_long_unloaded_versions_are_dropped() -> None:
    totals, key = Totals(), ServingKey("m", "v1", LIVE)
    totals.update(key, call_counts(3, epoch=1) + call_counts(2, epoch=5))
    totals.ended(key)
    totals.prune([key], [lane(epoch=5)], 0.0)
    assert calls_of(totals) == 2
    totals.prune([], [lane(epoch=5)], 100.0)
    totals.prune([], [lane(epoch=5)], 99.0 + RETENTION_SECONDS)
    assert calls_of(totals) == 2
    totals.prune([], [lane(epoch=5)], 100.0 + RETENTION_SECONDS)
    assert calls_of(totals) == 0


def slice_counts(predicted: range, labelled: range = range(0), segment: str = "", epoch: int = 1) -> list[Snapshot]:
    """What a process says that has predicted, and got labels, in these slices."""
    counts, store = counting(), MetricStore()
    for number in predicted:
        counts.at(place(segment, epoch, number)).predicted([0])
    for number in labelled:
        at = ("m", "v1", "live", segment, f"{epoch}.{number}")
        store.counter(catalog.FEEDBACK_COUNT, *at, "low", "low", "true").add()
        store.histogram(catalog.FEEDBACK_ERROR, *at).record(0.5)
    return counts.snapshot() + store.snapshot()


def slices_of(totals: Totals, metric: catalog.Metric, segment: str = "") -> dict[str, int]:
    return {key[4]: sum(one.counts) for key, one in found(totals.sum(), metric).items() if key[3] == segment}


def test_of_processes_that_have_ended_as_many_slices_are_kept_as_of_one_that_runs() -> None:
    totals, key = Totals(), ServingKey("m", "v1", LIVE)
    # One that ends every 10 slices.
    for begun in range(0, 1_000, 10):
        totals.update(key, slice_counts(range(begun, begun + 10), range(begun, begun + 10)))
        totals.ended(key)
        totals.prune([key], [lane(epoch=1)], 0.0)
    totals.update(key, slice_counts(range(995, 1_010), range(999, 1_010)))
    totals.prune([key], [lane(epoch=1)], 0.0)
    counted = {f"1.{number}": 2 if 995 <= number < 1_000 else 1 for number in range(994, 1_010)}
    assert slices_of(totals, catalog.PREDICTION_COUNT) == counted
    # Labels come late: a series each, and an error of 321 buckets takes the room of 6.
    room = ROOM // (room_of(catalog.FEEDBACK_COUNT) + room_of(catalog.FEEDBACK_ERROR))
    labelled = slices_of(totals, catalog.FEEDBACK_COUNT)
    assert labelled == {f"1.{number}": 2 if number == 999 else 1 for number in range(1_010 - room, 1_010)}
    assert slices_of(totals, catalog.FEEDBACK_ERROR) == labelled


def test_what_is_counted_in_does_not_fall_with_those_that_have_ended() -> None:
    totals, key = Totals(), ServingKey("m", "v1", LIVE)
    for begun in range(0, 40, 10):
        totals.update(key, slice_counts(range(begun, begun + 10)))
        totals.ended(key)
    # Another segment's slices are its own; and so are those of an older epoch, of which this process counts one still.
    totals.update(key, slice_counts(range(3), segment="eu"))
    totals.ended(key)
    totals.update(key, slice_counts(range(4, 5)))
    totals.prune([key], [lane(epoch=1)], 0.0)
    assert slices_of(totals, catalog.PREDICTION_COUNT) == {"1.4": 2} | {f"1.{number}": 1 for number in range(24, 40)}
    assert slices_of(totals, catalog.PREDICTION_COUNT, "eu") == {"1.0": 1, "1.1": 1, "1.2": 1}


def test_where_an_epoch_falls_those_that_have_ended_have_not_counted_in_what_never_was() -> None:
    totals, key = Totals(), ServingKey("m", "v1", LIVE)
    for epoch in (12, 20):
        totals.update(key, slice_counts(range(epoch, epoch + 2), epoch=epoch) + call_counts(1, epoch=epoch))
        totals.ended(key)
        totals.prune([key], [lane(epoch=max(epoch, 15))], 0.0)
    totals.prune([key], [lane(epoch=12)], 0.0)
    assert totals.sum() == []
    totals.update(key, call_counts(1, epoch=13))
    totals.ended(key)
    # The Router has heard of it before.
    totals.prune([key], [lane(epoch=12)], 0.0)
    assert calls_of(totals) == 1
