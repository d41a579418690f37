"""Windows from cumulative counters: each count in exactly one window, and what is no evidence."""

import math
from dataclasses import replace
from functools import partial

import pytest

from evaluator.window.arms import ELSEWHERE
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.readings import Reading
from evaluator.window.windows import fresh_share, take

ATTEMPTS = "crossfade.attempt.duration"
FEEDBACK = "crossfade.feedback.count"
INFERENCE = "crossfade.inference.duration"
INPUTS = "crossfade.lane.input.count"


def series(metric: str, *counts: int, labels: tuple[str, ...] = (), total: float = 0.0, **at: str) -> Series:
    return Series(metric, tuple(sorted(at.items())), counts, total, labels)


def reading(name: str, *found: Series, at: float = 1.0) -> Reading:
    return Reading(name, round(at * 1e6), tuple(sorted(found, key=lambda one: one.key)))


def counted(window: Counts) -> dict[str, list[tuple[int, ...]]]:
    return {instance.instance_id: [one.counts for one in instance.series] for instance in window}


def test_a_window_is_the_difference_to_the_cursor_per_process() -> None:
    first = take((), [reading("a", series(INFERENCE, 5, 1)), reading("b", series(INFERENCE, 2, 0))], first=True)
    assert counted(first.window) == {"a": [], "b": []}
    second = take(
        first.cursor, [reading("a", series(INFERENCE, 7, 4)), reading("b", series(INFERENCE, 2, 0))], first=False
    )
    assert counted(second.window) == {"a": [(2, 3)], "b": []}
    assert not second.problems


def test_every_count_is_in_exactly_one_window() -> None:
    cursor: Counts = ()
    total = 0
    for look in range(10):
        taken = take(cursor, [reading("a", series(INFERENCE, 3 * look + 1))], first=look == 0)
        cursor = taken.cursor
        total += sum(one.counts[0] for instance in taken.window for one in instance.series)
    assert total == 27


def test_how_alike_rows_are_may_be_beyond_what_counts() -> None:
    alike = series("crossfade.lane.input.alike", 2**60, labels=("0",), product="rows")
    first = take((), [reading("a", alike)], first=True)
    grown = series("crossfade.lane.input.alike", 2**60 + 2**30, labels=("0",), product="rows")
    second = take(first.cursor, [reading("a", grown)], first=False)
    assert (counted(second.window), second.problems) == ({"a": [(2**30,)]}, ())
    assert take((), [reading("a", series(INPUTS, 2**60))], first=True).problems


def test_a_new_process_counts_from_zero() -> None:
    first = take((), [reading("a", series(INFERENCE, 5))], first=True)
    second = take(first.cursor, [reading("a", series(INFERENCE, 5)), reading("b", series(INFERENCE, 9))], first=False)
    assert counted(second.window)["b"] == [(9,)]


def test_a_process_that_was_seen_but_not_read_has_a_history() -> None:
    first = take((), [reading("a"), Reading("b", 1, None)], first=True)
    found = [series(INFERENCE, 900), series(ATTEMPTS, 40, epoch="3")]
    second = take(first.cursor, [reading("a"), reading("b", *found)], first=False)
    assert counted(second.window)["b"] == [(40,)]
    found = [series(INFERENCE, 903), series(ATTEMPTS, 41, epoch="3")]
    third = take(second.cursor, [reading("a"), reading("b", *found)], first=False)
    assert counted(third.window)["b"] == [(1,), (3,)]


def test_a_process_that_started_before_the_look_before_and_was_not_listed_then_has_a_history() -> None:
    cursor = take((), [reading("a", at=1_000.0)], first=True).cursor
    found = [series(INFERENCE, 50_000), series(ATTEMPTS, 40, epoch="3")]
    for started, window in ((999.0, [(40,)]), (1_001.0, [(40,), (50_000,)]), (0.0, [(40,), (50_000,)])):
        late = replace(reading("b", *found, at=1_002.0), started_us=round(started * 1e6))
        second = take(cursor, [reading("a", at=1_002.0), late], first=False)
        assert counted(second.window)["b"] == window
    more = [series(INFERENCE, 50_003), series(ATTEMPTS, 41, epoch="3")]
    third = take(second.cursor, [reading("b", *more, at=1_004.0)], first=False)
    assert counted(third.window)["b"] == [(1,), (3,)]


@pytest.mark.parametrize(("begun", "window"), [(996.0, [(7,)]), (900.0, [])], ids=["new", "left out before"])
def test_a_series_that_is_new_to_a_known_process_counts_from_zero_if_it_has_begun_since(
    begun: float, window: list[tuple[int, ...]]
) -> None:
    known, more = series(INFERENCE, 5, batch="1"), series(INFERENCE, 7, batch="2")
    cursor = take((), [reading("a", known, at=1_000.0)], first=True).cursor
    late = replace(reading("a", known, more, at=1_030.0), begun_us={more.key: round(begun * 1e6)})
    second = take(cursor, [late], first=False)
    assert counted(second.window) == {"a": window}
    third = take(second.cursor, [reading("a", known, series(INFERENCE, 9, batch="2"), at=1_060.0)], first=False)
    assert counted(third.window) == {"a": [(2,)]}


def test_of_a_metric_that_was_left_out_at_first_the_history_counts_in_no_window() -> None:
    strange = [series(INFERENCE, 2**60), series(INPUTS, 3, labels=("0",))]
    cursor = take((), [reading("a", *strange)], first=True).cursor
    right = [series(INFERENCE, 900), series(INPUTS, 4, labels=("0",)), series(INPUTS, 5, labels=("0",), feature="x")]
    second = take(cursor, [reading("a", *right)], first=False)
    # A feature that is new among others has begun since.
    assert counted(second.window) == {"a": [(1,), (5,)]}
    third = take(second.cursor, [reading("a", series(INFERENCE, 903), *right[1:])], first=False)
    assert counted(third.window) == {"a": [(3,)]}


def test_what_a_process_counted_that_was_listed_and_not_read_counts_if_it_began_after_the_look_before() -> None:
    cursor = take((), [reading("a", at=1_000.0), Reading("b", 1, None)], first=True).cursor
    for started, window in ((1_001.0, [(9,)]), (990.0, []), (0.0, [])):
        late = replace(reading("b", series(INFERENCE, 9), at=1_030.0), started_us=round(started * 1e6))
        assert counted(take(cursor, [late], first=False).window) == {"b": window}
    # Where no process has been read, nobody knows what was before.
    nothing = take((), [Reading("b", 1, None)], first=True).cursor
    assert counted(take(nothing, [late], first=False).window) == {"b": []}


def test_labels_are_taken_from_zero_by_the_first_look() -> None:
    found = [series(FEEDBACK, 7, labels=("x",), slice="1.5"), series(ATTEMPTS, 40, epoch="3")]
    first = take((), [reading("a", *found)], first=True)
    assert [one.metric for one in first.window[0].series] == [FEEDBACK]


def test_a_counter_that_went_backwards_is_no_evidence_and_is_not_counted_twice() -> None:
    first = take((), [reading("a", series(INFERENCE, 100))], first=True)
    dipped = take(first.cursor, [reading("a", series(INFERENCE, 60))], first=False)
    assert dipped.window == ()
    assert [(problem.instance_id, problem.lasting) for problem in dipped.problems] == [("a", True)]
    assert "backwards" in dipped.problems[0].reason
    back = take(dipped.cursor, [reading("a", series(INFERENCE, 103))], first=False)
    assert counted(back.window) == {"a": [(3,)]}


def test_one_bin_that_went_backwards_is_enough() -> None:
    first = take((), [reading("a", series(INPUTS, 4, 4, labels=("0", "1")))], first=True)
    second = take(first.cursor, [reading("a", series(INPUTS, 9, 3, labels=("0", "1")))], first=False)
    assert second.window == ()
    assert second.problems[0].lasting


def test_bins_that_are_new_count_from_zero() -> None:
    first = take((), [reading("a", series(INPUTS, 4, labels=("0",)))], first=True)
    second = take(first.cursor, [reading("a", series(INPUTS, 5, 2, labels=("0", "1")))], first=False)
    assert second.window[0].series[0].by_label == {"0": 1, "1": 2}


@pytest.mark.parametrize(
    "bad",
    [series(INFERENCE, -1), series(INFERENCE, 2**60)],
)
def test_counters_that_are_no_numbers_are_no_evidence(bad: Series) -> None:
    first = take((), [reading("a", series(INFERENCE, 1))], first=True)
    second = take(first.cursor, [reading("a", bad)], first=False)
    assert second.window == ()
    assert second.cursor == first.cursor
    assert len(second.problems) == 1


@pytest.mark.parametrize("total", [math.nan, math.inf])
def test_a_sum_that_is_no_number_loses_no_counts(total: float) -> None:
    cursor = take((), [reading("a", series(INFERENCE, 1, total=total))], first=True).cursor
    for n in (4, 7):
        taken = take(cursor, [reading("a", series(INFERENCE, n, total=total))], first=False)
        assert (counted(taken.window), taken.problems) == ({"a": [(3,)]}, ())
        cursor = taken.cursor


def test_of_a_metric_that_cannot_be_right_nothing_counts_and_all_others_do() -> None:
    def read(ok: int, failed: int, batches: int) -> Reading:
        attempts = (series(ATTEMPTS, n, outcome=outcome) for outcome, n in (("ok", ok), ("INTERNAL", failed)))
        return reading("a", *attempts, series(INFERENCE, batches))

    cursor = take((), [read(10, 1, 5)], first=True).cursor
    # Failures without the successes would be harm.
    strange = take(cursor, [read(2**60, 2, 7)], first=False)
    assert counted(strange.window) == {"a": [(2,)]}
    assert [(one.reason, one.lasting) for one in strange.problems] == [
        ("its counters crossfade.attempt.duration are not numbers that count, and are left out", True)
    ]
    back = take(strange.cursor, [read(14, 3, 8)], first=False)
    assert counted(back.window) == {"a": [(2,), (4,), (1,)]}
    assert not back.problems


def test_a_million_million_counts_are_counted() -> None:
    first = take((), [reading("a", series(INFERENCE, 10**12))], first=True)
    second = take(first.cursor, [reading("a", series(INFERENCE, 2 * 10**12))], first=False)
    assert counted(second.window) == {"a": [(10**12,)]}


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


def test_windows_and_cursors_do_not_depend_on_the_order_of_readings() -> None:
    a, b = reading("a", series(INFERENCE, 1)), reading("b", series(INFERENCE, 2))
    assert take((), [a, b], first=True) == take((), [b, a], first=True)


def test_freshness_is_the_share_of_processes_read_lately() -> None:
    cursor = take((), [reading("a", at=100.0), reading("b", at=50.0), Reading("c", 1, None)], first=True).cursor
    assert fresh_share(cursor, ["a", "b", "c", "d"], now=110.0, stale_after=30.0) == 0.25
    assert fresh_share(cursor, ["a"], now=110.0, stale_after=30.0) == 1.0
    assert fresh_share(cursor, [], now=110.0, stale_after=30.0) == 0.0
