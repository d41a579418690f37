"""What is known of how alike the rows of one request are: by hand, from what Routers and Workers add up."""

import numpy as np
import pytest

from evaluator.evidence.alike import Alike, AlikeAnswers, Answered, Sums, answers_of
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.labels import Labels, SliceCounts
from services.common.telemetry import catalog
from services.common.telemetry.catalog import ALIKE_SUMS
from tests.fakes.rollouts import demo_terms

TERMS = demo_terms(features=0)


def window(*found: Series) -> Counts:
    return (InstanceCounts("router-1", 1, found), InstanceCounts("router-2", 1, found[:1]))


def alike(version: str, *sums: int, traffic: str = "live", **at: str) -> Series:
    place = {"version": version, "traffic": traffic, "segment": "", **at}
    return Series(catalog.FEEDBACK_ALIKE.name, tuple(sorted(place.items())), sums, labels=ALIKE_SUMS)


def test_the_latest_few_hundred_requests_count_most() -> None:
    # 1,200 requests of eight rows, of which 300 are kept.
    before = Sums(9_600.0, 960.0, (76_800.0, 7_680.0, 7_680.0))
    after = before.plus([Labels(10, 3), Labels(6, 1)], (128, 32, 31))
    assert (after.rows, after.wrong) == (2_400.0 + 16.0, 240.0 + 4.0)
    assert after.squares == (19_200.0 + 128.0, 1_920.0 + 32.0, 1_920.0 + 31.0)
    few = Sums(80.0, 8.0, (640.0, 64.0, 64.0)).plus([Labels(8, 1)], (64, 8, 1))
    assert few == Sums(88.0, 9.0, (704.0, 72.0, 65.0))


def test_rows_vary_by_request_and_would_by_themselves() -> None:
    # Ten requests of eight rows, two of which are wrong in all of them.
    varied, alone = Sums(80.0, 16.0, (640.0, 128.0, 128.0)).variation
    assert varied == pytest.approx(2 * (8 - 1.6) ** 2 + 8 * 1.6**2)
    assert alone == pytest.approx(80 * 0.2 * 0.8)
    assert Sums().variation == (0.0, 0.0)


def test_each_arm_has_the_sums_of_its_own_slices() -> None:
    found = window(
        alike("v2", 64, 8, 1, slice="2.1"),
        alike("v1", 100, 20, 4, slice="2.1"),
        alike("v1", 36, 6, 2, slice="2.2", traffic="control"),
        # Of no slice, as older Routers counted them; and of another version.
        alike("v1", 900, 900, 900),
        alike("v3", 900, 900, 900, slice="2.1"),
    )
    counted = [SliceCounts(9, 90, Labels(8, 1), Labels(10, 2)), SliceCounts(9, 90, Labels(8, 1), Labels(6, 1))]
    after = Alike().plus(ArmCounts(found, TERMS), iter(counted))
    assert after.test == Sums(16.0, 2.0, (128.0, 16.0, 2.0))
    assert after.stable == Sums(16.0, 3.0, (136.0, 26.0, 6.0))


def test_of_nothing_and_of_few_requests_the_effect_is_the_careful_one() -> None:
    assert Alike().effect == Alike().careful == 1.0
    # Two requests of eight rows in one arm, four in the other: as if all of a request's rows were one.
    few = Alike(Sums(16.0, 4.0, (128.0, 32.0, 16.0)), Sums(32.0, 4.0, (256.0, 32.0, 8.0)))
    assert few.effect == few.careful == 8.0
    # Labels of requests that were counted by nobody.
    assert Alike(Sums(16.0, 4.0)).effect == 1.0


def test_where_all_rows_are_right_or_wrong_those_of_a_request_may_always_be() -> None:
    def arms(wrong: float) -> Alike:
        squares = (3_200.0, wrong * 8.0, wrong * 8.0)
        return Alike(Sums(400.0, wrong, squares), Sums(400.0, wrong, squares))

    for wrong in (0.0, 400.0):
        assert arms(wrong).effect == 1.0
        assert arms(wrong).careful == 8.0
    # With some of both it is known.
    assert arms(80.0).careful == arms(80.0).effect == pytest.approx(8.0)
    one_sided = Alike(Sums(400.0, 0.0, (3_200.0, 0.0, 0.0)), Sums(400.0, 400.0, (3_200.0,) * 3))
    assert one_sided.careful == one_sided.effect


def answers(version: str, *counts: int, product: str = "", traffic: str = "live") -> Series:
    place = {"version": version, "traffic": traffic, "segment": "", "slice": "2.1"}
    metric = catalog.PREDICTION_ALIKE if product else catalog.PREDICTION_COUNT
    at = place | ({"product": product} if product else {})
    return Series(metric.name, tuple(sorted(at.items())), counts, labels=("3", "7", "other"))


def test_predictions_are_told_from_their_products_and_one_arm_from_the_other() -> None:
    found = window(
        answers("v2", 5, 7, 2),
        answers("v2", 50, 70, 20, product="class"),
        answers("v2", 51, 71, 21, product="rows"),
        answers("v2", 9_000, 0, 0, product="a later release's"),
        answers("v1", 1, 2, 3),
        answers("v1", 10, 20, 30, traffic="control"),
        answers("v1", 4, 5, 6, product="class"),
        answers("v3", 9_000, 0, 0),
    )
    test, stable = answers_of(ArmCounts(found, TERMS))
    assert test == Answered((10, 14, 4), (50, 70, 20), (51, 71, 21))
    assert stable == Answered((11, 22, 33), (4, 5, 6), (0, 0, 0))


def test_the_latest_predictions_count_most_too() -> None:
    # 1,200 requests of eight rows: with each row's own they have 76,800 pairs.
    before = Answered((4_800.0, 4_800.0), (1_000.0, 2_000.0), (33_600.0, 33_600.0))
    after = before.plus(Answered((1, 2), (3, 4), (5, 6)))
    assert after == Answered((1_201.0, 1_202.0), (253.0, 504.0), (8_405.0, 8_406.0))
    assert Answered().plus(before) is before


def test_of_few_requests_predictions_are_taken_to_be_as_alike_as_they_can_be() -> None:
    few = Answered((8.0, 8.0, 0.0), (56.0, 56.0, 0.0), (56.0, 56.0, 0.0))
    assert AlikeAnswers(few, few).effects(2).tolist() == [8.0, 8.0]
    single = Answered((2.0, 2.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert AlikeAnswers(single, single).effects(2).tolist() == [1.0, 1.0]


def test_single_predictions_say_what_each_says_and_a_class_of_fewer_than_a_hundred_goes_by_all() -> None:
    single = Answered((400.0, 99.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert AlikeAnswers(single, Answered()).effects(2) == pytest.approx(np.ones(2), abs=1e-9)
    # Requests of eight rows, those of the second class together and those of the first and third apart.
    for rows, own in ((99.0, False), (100.0, True)):
        apart = Answered((4_000.0, rows, 3_000.0), (14_000.0, rows * 7.0, 10_000.0), (28_000.0, rows * 7.0, 21_000.0))
        found = AlikeAnswers(apart, Answered()).effects(2)
        assert (found[1] == pytest.approx(found[0], rel=1e-9) or found[1] < 4.0) is not own
