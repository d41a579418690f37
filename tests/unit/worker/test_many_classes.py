"""What is counted of a model with thousands of classes: those that were predicted are told, and named once."""

import asyncio
from dataclasses import replace

import pytest

from crossfade.tensor_spec import DType, TensorSpec
from services.common.telemetry import catalog, otlp
from services.common.telemetry.store import MetricStore, Snapshot, merge
from services.worker.front_end.counting import Counting
from services.worker.pipes import messages
from tests.unit.worker.counted import found, manifest, place

CLASSES = catalog.COUNTED_CLASSES


def counting(number: int = CLASSES) -> Counting:
    """Counts for a model with many classes of long names."""
    plain = manifest()
    scores = TensorSpec("scores", DType.FP32, (-1, number))
    classes = tuple(f"a class whose name is number {one}" for one in range(number))
    signature = replace(plain.signature, outputs=(scores,))
    return Counting(MetricStore(), "m", "v1", replace(plain, signature=signature, classes=classes), "fp32")


def counted(slices: int) -> list[Snapshot]:
    """Two rows of other classes in each slice."""
    counts = counting()
    for number in range(slices):
        counts.arrived(place(slice_number=number)).predicted([number, 500 + number, CLASSES + 7])
    return counts.snapshot()


async def read(frame: bytes) -> tuple[messages.Counts, bytes]:
    """The two parts of a frame of counts."""
    reader = asyncio.StreamReader()
    reader.feed_data(frame)
    got = await messages.read(reader)
    assert got is not None
    message, binary = got
    assert isinstance(message, messages.Counts)
    return message, binary


def test_only_classes_that_were_predicted_are_told() -> None:
    (one,) = found(counted(1), catalog.PREDICTION_COUNT).values()
    assert dict(zip(one.labels, one.counts, strict=True)) == {
        "a class whose name is number 0": 1,
        "a class whose name is number 500": 1,
        "other": 1,
    }


def test_a_frame_is_as_long_as_what_was_predicted() -> None:
    """It had each class in each series: 2 MB after 16 slices, each second."""
    snapshots = counted(catalog.KEPT_SLICES)
    frame = messages.pack_counts(1, snapshots)
    assert len(frame) < 20_000

    assert messages.unpack_counts(*asyncio.run(read(frame))) == snapshots


def test_counts_of_several_processes_are_added_up_by_the_class() -> None:
    first, second = counting(), counting()
    first.arrived(place()).predicted([3, 4])
    second.arrived(place()).predicted([4, 999])
    total = merge([*first.snapshot(), *second.snapshot()])
    (one,) = found(total, catalog.PREDICTION_COUNT).values()
    sums = {label.rpartition(" ")[2]: count for label, count in zip(one.labels, one.counts, strict=True)}
    assert sums == {"3": 1, "4": 2, "999": 1}


def test_of_more_classes_than_can_be_read_rows_alone_are_counted() -> None:
    """An Evaluator could not read the counts of 10,000 classes, so that no rollout ended."""
    counts = counting(CLASSES + 1)
    counts.arrived(place()).predicted([3, 4, 4])
    snapshots = counts.snapshot()
    (rows,) = found(snapshots, catalog.PREDICTION_COUNT).values()
    assert (rows.labels, rows.counts) == (("other",), (3,))
    alike = found(snapshots, catalog.PREDICTION_ALIKE).values()
    assert [(one.labels, one.counts) for one in alike] == [(("other",), (6,))] * 2


def test_a_series_that_has_counted_nothing_can_be_told_all_the_same() -> None:
    store = MetricStore()
    store.spread(catalog.PREDICTION_COUNT, [str(number) for number in range(CLASSES)], *"abcde").add([0] * CLASSES)
    (one,) = store.snapshot()
    assert one.counts == (0,)
    assert otlp.encode(otlp.Resource("crossfade-worker", "i", 0), [one])


def test_labels_that_a_frame_does_not_have_are_no_counts() -> None:
    store = MetricStore()
    store.spread(catalog.PREDICTION_COUNT, ["a", "b"], *"abcde").add([1, 2])
    message, binary = asyncio.run(read(messages.pack_counts(1, store.snapshot())))
    assert messages.unpack_counts(message, binary) == store.snapshot()
    for table in (b'["a"]', b"[1, 2]", b'{"a": "b"}'):
        with pytest.raises(ValueError, match="labels that are none"):
            messages.unpack_counts(message, binary.replace(b'["a", "b"]', table))
