"""How counts cross the pipe, and how the supervisor adds them up."""

import asyncio
from collections import defaultdict
from dataclasses import replace

import numpy as np

from services.common.kept_slices import ROOM, room_of
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore, Snapshot
from services.worker.domain import Context, FailureCode, Lane, LaneContext, ServingKey, Traffic
from services.worker.pipes import messages
from services.worker.supervisor.totals import RETENTION_SECONDS, Totals
from tests.unit.worker.counted import LIVE, counting, found, place


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


def test_of_lanes_that_are_gone_those_that_have_ended_tell_for_a_while() -> None:
    """A version may be stable for months, and have a process for control in each segment that comes and goes."""
    totals, key = Totals(), ServingKey("m", "v1", Traffic.CONTROL)
    segments = ["", *(f"s{number}" for number in range(20))]
    lanes = [replace(lane(1), segment=segment) for segment in segments]
    for number, segment in enumerate(segments):
        counts = counting()
        counts.at(place(segment)).call("ok", 0.001)
        counts.inputs(place(segment), [np.zeros((2, 2), np.float32)])
        totals.update(key, counts.snapshot() + slice_counts(range(2), range(2), segment))
        totals.ended(key)
        totals.prune([key], [lanes[0], lanes[number]], 100.0 * number)
    totals.prune([key], lanes[:1], 2_100.0)
    told: defaultdict[catalog.Metric, set[str]] = defaultdict(set)
    for one in totals.sum():
        told[one.metric].add(one.attributes[3])
    assert told.keys() >= {catalog.INPUT_COUNT, catalog.PREDICTION_COUNT, catalog.FEEDBACK_COUNT}
    # That of the eleventh is gone for 900 s.
    assert all(left == {"", *segments[12:]} for left in told.values())


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
