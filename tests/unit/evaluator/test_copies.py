"""What became of the requests that a SHADOW step mirrors."""

import math

from evaluator.evidence.copies import NO_COPIES, Copies
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import Counts, InstanceCounts, Series
from services.common.telemetry import catalog
from tests.fakes.rollouts import demo_terms


def window(sent: int, originals: int, pairs: tuple[int, int] = (0, 0)) -> Counts:
    """Copies that v2 got, requests that v1's control process got; pairs that are alike and that differ."""
    found = [
        Series(catalog.ATTEMPT_DURATION.name, (("traffic", traffic), ("version", version)), (count,))
        for version, traffic, count in (("v2", "shadow", sent), ("v1", "control", originals), ("v1", "live", 5_000))
    ]
    for rows, test in zip(pairs, ("a", "b"), strict=True):
        at = (("stable", "a"), ("test", test), ("traffic", "shadow"), ("version", "v2"))
        found.append(Series(catalog.SHADOW_PAIR_COUNT.name, at, (rows,)))
    return (InstanceCounts("router-1", 1, tuple(found)),)


def test_copies_add_up_over_looks_and_processes() -> None:
    terms = demo_terms(features=0)
    copies = NO_COPIES.plus(ArmCounts(window(90, 100, (80, 10)) + window(45, 50, (40, 5)), terms)).plus(
        ArmCounts(window(9, 10), terms)
    )
    assert copies == Copies(rows=135, different=15, sent=144, originals=160, step_rows=135)
    assert copies.share == 0.9
    assert copies.rows_each == 1.0


def test_a_new_step_counts_its_own_copies_and_keeps_what_was_compared() -> None:
    assert Copies(135, 15, 144, 160, 135).anew() == Copies(135, 15, 0, 0)


def test_what_has_no_copy_moves_a_share_by_no_more_than_it_is() -> None:
    assert Copies(sent=989, originals=1_000).may_move(0.02)
    assert not Copies(sent=991, originals=1_000).may_move(0.02)
    assert not Copies(sent=10, originals=99).may_move(0.02)
    assert Copies(sent=100, step_rows=1_600).rows_each == 16.0
    assert NO_COPIES.rows_each == 1.0


def test_nine_tenths_of_a_hundred_requests_are_enough_and_of_fewer_requests_it_is_unknown() -> None:
    assert not Copies(sent=90, originals=100).too_few
    assert Copies(sent=89, originals=100).too_few
    assert math.isnan(Copies(sent=10, originals=99).share)
    assert not Copies(sent=10, originals=99).too_few
    assert not NO_COPIES.too_few
