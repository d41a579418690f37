"""What a cursor keeps of processes and series that vanish, come back, or are dropped."""

from dataclasses import replace
from functools import partial

import pytest

from evaluator.window.arms import ELSEWHERE
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.readings import Reading
from evaluator.window.windows import fresh_share, take
from tests.unit.evaluator.read_counts import ATTEMPTS, FEEDBACK, INFERENCE, counted, reading, series


def test_labels_are_taken_from_zero_by_the_first_look() -> None:
    found = [series(FEEDBACK, 7, labels=("x",), slice="1.5"), series(ATTEMPTS, 40, epoch="3")]
    first = take((), [reading("a", *found)], first=True)
    assert [one.metric for one in first.window[0].series] == [FEEDBACK]


def test_a_process_that_vanished_and_comes_back_goes_on_from_its_cursor() -> None:
    first = take((), [reading("a", series(INFERENCE, 10)), reading("b", series(INFERENCE, 10))], first=True)
    gone = take(first.cursor, [reading("a", series(INFERENCE, 11))], first=False)
    assert not gone.problems
    back = take(gone.cursor, [reading("a", series(INFERENCE, 12)), reading("b", series(INFERENCE, 14))], first=False)
    assert counted(back.window) == {"a": [(1,)], "b": [(4,)]}


def test_a_process_whose_counters_are_all_gone_is_no_evidence_and_grows_stale() -> None:
    cursor = take((), [reading("a", series(INFERENCE, 5))], first=True).cursor
    gone = take(cursor, [reading("a", at=100.0)], first=False)
    assert not gone.window
    assert [(one.reason, one.lasting) for one in gone.problems] == [("its counters are gone", False)]
    assert fresh_share(gone.cursor, ["a"], now=100.0, stale_after=90.0) == 0.0
    back = take(gone.cursor, [reading("a", series(INFERENCE, 9), at=130.0)], first=False)
    assert counted(back.window) == {"a": [(4,)]}


def test_a_router_without_traffic_for_some_epochs_has_no_series_and_is_fresh() -> None:
    cursor = take((), [reading("a", series(ATTEMPTS, 5, epoch="1"))], first=True).cursor
    idle = take(cursor, [reading("a", at=100.0)], first=False)
    assert not idle.problems
    assert fresh_share(idle.cursor, ["a"], now=100.0, stale_after=90.0) == 1.0


def test_a_process_that_has_long_been_gone_leaves_its_name_alone() -> None:
    cursor = take((), [reading("a", series(INFERENCE, 5)), reading("b", series(INFERENCE, 5))], first=True).cursor
    for at, held in ((900.0, 1), (902.0, 0)):
        cursor = take(cursor, [reading("b", series(INFERENCE, 6), at=at)], first=False).cursor
        assert [len(one.series) for one in cursor] == [held, 1]
    # Should it come back after all, nothing of it is counted twice.
    for total, window in ((9, []), (12, [(3,)])):
        taken = take(cursor, [reading("a", series(ATTEMPTS, total, epoch="1"), at=1000.0 + total)], first=False)
        cursor = taken.cursor
        assert counted(taken.window)["a"] == window


DAY = 86_400.0


@pytest.mark.parametrize("read_us", [1_000_000, 0, -1], ids=["read", "never read", "forgotten by an older release"])
def test_after_a_day_the_name_of_a_process_that_is_gone_goes_too(read_us: int) -> None:
    cursor: Counts = (InstanceCounts("a", read_us),)
    for at in (2.0, 1_000.0, DAY):
        cursor = take(cursor, [reading("b", series(INFERENCE, 6), at=at)], first=False).cursor
        assert [one.instance_id for one in cursor] == ["a", "b"]
    assert cursor[0].forgotten
    cursor = take(cursor, [reading("b", series(INFERENCE, 6), at=DAY + 3.0)], first=False).cursor
    assert [one.instance_id for one in cursor] == ["b"]


def test_the_name_of_a_process_that_is_listed_and_cannot_be_read_stays() -> None:
    cursor = take((), [Reading("a", 1, None), reading("b")], first=True).cursor
    for at in (DAY, 3.0 * DAY):
        cursor = take(cursor, [Reading("a", round(at * 1e6), None), reading("b", at=at)], first=False).cursor
    assert [one.instance_id for one in cursor] == ["a", "b"]


def test_a_series_that_vanished_and_comes_back_goes_on_from_its_cursor() -> None:
    one, other = series(INFERENCE, 10, version="v1"), series(INFERENCE, 20, version="v2")
    first = take((), [reading("a", one, other)], first=True)
    gone = take(first.cursor, [reading("a", one)], first=False)
    back = take(gone.cursor, [reading("a", one, series(INFERENCE, 23, version="v2"))], first=False)
    assert counted(back.window) == {"a": [(3,)]}


def test_dropped_slices_and_epochs_leave_the_cursor_when_they_cannot_come_back() -> None:
    old = [series(FEEDBACK, 1, labels=("x",), slice="1.5"), series(ATTEMPTS, 1, epoch="1")]
    first = take((), [reading("a", *old)], first=True)
    near = [series(FEEDBACK, 1, labels=("x",), slice="1.20"), series(ATTEMPTS, 1, epoch="4")]
    second = take(first.cursor, [reading("a", *near)], first=False)
    assert len(second.cursor[0].series) == 4
    far = [series(FEEDBACK, 1, labels=("x",), slice="1.21"), series(ATTEMPTS, 1, epoch="5")]
    third = take(second.cursor, [reading("a", *far)], first=False)
    assert {dict(one.attributes).get("slice", dict(one.attributes).get("epoch")) for one in third.cursor[0].series} == {
        "1.20",
        "1.21",
        "4",
        "5",
    }


def labels(slices: range, *more: Series, epoch: int = 1, version: str = "v2") -> list[Series]:
    found = [series(FEEDBACK, 1, labels=("x",), slice=f"{epoch}.{number}", version=version) for number in slices]
    return [*found, *more]


def test_slices_leave_the_cursor_as_processes_drop_them_whatever_epoch_comes_next() -> None:
    cursor = take((), [reading("a", *labels(range(1, 13)))], first=True).cursor
    # Eleven of the next epoch push the first six out; another one is late.
    now = [*labels(range(7, 8)), *labels(range(9, 13)), *labels(range(1, 12), epoch=2)]
    cursor = take(cursor, [reading("a", *now)], first=False).cursor
    held = [dict(one.attributes)["slice"] for one in cursor[0].series]
    assert held == sorted([*(f"1.{number}" for number in range(7, 13)), *(f"2.{number}" for number in range(1, 12))])


def test_labels_of_an_old_slice_that_are_late_are_not_counted_twice() -> None:
    """Processes keep labels of hundreds of slices."""
    every = labels(range(1, 41))
    cursor = take((), [reading("a", *every)], first=True).cursor
    cursor = take(cursor, [reading("a", *every[:4], *every[5:])], first=False).cursor
    back = take(cursor, [reading("a", *every)], first=False)
    assert counted(back.window) == {"a": []}


def beside(count: int) -> Series:
    """Requests of another lane at the version's process."""
    return series(ELSEWHERE, count, epoch="7", segment="vip", version="v2")


def test_another_lane_that_ends_and_is_heard_of_once_more_hides_no_evidence() -> None:
    """Its series are dropped, and a call that was under way makes one anew."""
    attempts = partial(series, ATTEMPTS, epoch="3", version="v2")
    first = take((), [reading("a", attempts(10), beside(500))], first=True)
    gone = take(first.cursor, [reading("a", attempts(20))], first=False)
    again = take(gone.cursor, [reading("a", attempts(30), beside(1))], first=False)
    assert (counted(again.window), again.problems) == ({"a": [(10,)]}, ())
    later = take(again.cursor, [reading("a", attempts(40), beside(4))], first=False)
    assert counted(later.window) == {"a": [(10,), (3,)]}


def test_what_another_lane_has_had_before_it_was_read_is_history() -> None:
    """Its epoch may be a week old: a series of one is new to who reads it first, and not young."""
    began = round(0.5e6)
    first = take((), [reading("a", series(ATTEMPTS, 10, epoch="3"))], first=True)
    found = replace(
        reading("a", series(ATTEMPTS, 20, epoch="3"), beside(200_000), at=60.0), begun_us={beside(0).key: began}
    )
    second = take(first.cursor, [replace(found, begun_us={beside(0).key: -round(1e12)})], first=False)
    assert counted(second.window) == {"a": [(10,)]}
    young = take(first.cursor, [replace(found, begun_us={beside(0).key: round(30e6)})], first=False)
    assert counted(young.window) == {"a": [(10,), (200_000,)]}


def test_freshness_is_the_share_of_processes_read_lately() -> None:
    cursor = take((), [reading("a", at=100.0), reading("b", at=50.0), Reading("c", 1, None)], first=True).cursor
    assert fresh_share(cursor, ["a", "b", "c", "d"], now=110.0, stale_after=30.0) == 0.25
    assert fresh_share(cursor, ["a"], now=110.0, stale_after=30.0) == 1.0
    assert fresh_share(cursor, [], now=110.0, stale_after=30.0) == 0.0


def test_what_was_read_by_a_clock_that_was_ahead_is_neither_fresh_nor_kept_until_that_time_comes() -> None:
    (ahead,) = take((), [reading("a", series(INFERENCE, 5), at=10 * DAY)], first=True).cursor
    cursor: Counts = (ahead,)
    assert fresh_share(cursor, ["a"], now=100.0, stale_after=90.0) == 0.0
    assert fresh_share(cursor, ["a"], now=10 * DAY - 60.0, stale_after=90.0) == 1.0
    for at, held in ((100.0, 1), (1_000.0, 1), (1_001.0, 0)):
        cursor = take(cursor, [reading("b", series(INFERENCE, 6), at=at)], first=False).cursor
        assert [one.instance_id for one in cursor] == ["a", "b"]
        assert len(cursor[0].series) == held
