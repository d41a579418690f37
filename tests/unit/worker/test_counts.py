"""What a process counts of calls, batches and predictions, and which epochs and slices it keeps."""

from services.common.telemetry import catalog
from tests.unit.worker.counted import LIVE, counting, found, place


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


def test_present_slices_are_kept_after_the_clock_was_ahead() -> None:
    counts = counting()
    for number in (*range(100, 120), *range(1_000, 1_020), *range(120, 140)):
        counts.arrived(place(slice_number=number)).predicted([0])
    # One that came long ago is answered only now.
    counts.at(place(slice_number=90)).predicted([0])
    kept = {key[4] for key in found(counts.snapshot(), catalog.PREDICTION_COUNT)}
    assert kept == {f"1.{number}" for number in (*range(1_004, 1_020), *range(124, 140))}


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
