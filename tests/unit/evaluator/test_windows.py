"""Windows from cumulative counters: each count in exactly one window, and what is no evidence."""

import math
from dataclasses import replace

import pytest

from evaluator.window.counts import Counts, Series
from evaluator.window.readings import Reading
from evaluator.window.windows import take
from tests.unit.evaluator.read_counts import ATTEMPTS, INFERENCE, INPUTS, counted, reading, series


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


def test_windows_and_cursors_do_not_depend_on_the_order_of_readings() -> None:
    a, b = reading("a", series(INFERENCE, 1)), reading("b", series(INFERENCE, 2))
    assert take((), [a, b], first=True) == take((), [b, a], first=True)
