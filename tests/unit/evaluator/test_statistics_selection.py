"""Selection: whether labels are drawn without regard to the kind of a row."""

import math

import numpy as np
import pytest

from evaluator.statistics.process import log_threshold
from evaluator.statistics.selection import Stratum, selection


def test_a_kind_that_gets_all_labels_stands_out_and_says_by_how_much() -> None:
    found = selection([Stratum(300, 700, 300, 70)])
    assert found.ratio == pytest.approx(10.0)
    assert found.moved == pytest.approx(300 / 370 - 0.3)
    # 189 more than the 111 that were expected, with a variance of 300 * 700 * 370 * 630 / (1000^2 * 999).
    whole = 300 * 700 * 370 * 630 / (1000**2 * 999) + 10.0
    assert found.log_e == pytest.approx(0.5 * math.log(10.0 / whole) + 189**2 / (2 * whole))
    mirrored = selection([Stratum(700, 300, 70, 300)])
    assert (mirrored.ratio, mirrored.log_e) == pytest.approx((0.1, found.log_e))


def test_strata_with_labels_in_unlike_shares_say_nothing_by_their_mix() -> None:
    """Of all rows 86 % of the kind have labels and 34 % of the others: in each stratum as many."""
    found = selection([Stratum(900, 100, 855, 95), Stratum(100, 900, 10, 90), Stratum(500, 0, 20, 0)])
    assert found.ratio == pytest.approx(1.0)
    assert found.moved == pytest.approx(0.0)
    assert found.log_e < 0.0


@pytest.mark.parametrize(
    "strata", [[], [Stratum(0, 0, 0, 0)], [Stratum(50, 0, 20, 0)], [Stratum(20, 30, 0, 0)], [Stratum(1, 0, 1, 0)]]
)
def test_where_there_are_no_labels_or_no_others_nothing_is_known(strata: list[Stratum]) -> None:
    assert selection(strata) == (1.0, 0.0, 0.0, 0.0)


def test_labels_of_predictions_that_went_with_their_process_count_as_all_of_a_stratum() -> None:
    found = selection([Stratum(40, 60, 48, 72)])
    assert found.ratio == pytest.approx(1.0)
    assert found.log_e <= 0.0


def test_a_kind_of_which_alone_there_are_labels_has_an_infinite_ratio() -> None:
    assert selection([Stratum(40, 60, 40, 0)]).ratio == math.inf


@pytest.mark.parametrize(("kind", "others", "labels"), [(10, 10, 10), (30, 5, 20), (200, 200, 200), (3, 300, 30)])
def test_of_labels_that_are_drawn_at_random_the_expectation_is_at_most_1(kind: int, others: int, labels: int) -> None:
    """By exact enumeration of the hypergeometric distribution, which is near enough to normal."""
    expected = 0.0
    for drawn in range(max(0, labels - others), min(kind, labels) + 1):
        chance = math.comb(kind, drawn) * math.comb(others, labels - drawn) / math.comb(kind + others, labels)
        expected += chance * math.exp(selection([Stratum(kind, others, drawn, labels - drawn)]).log_e)
    assert expected <= 1.001


def test_rows_of_a_request_that_get_their_labels_together_count_as_few() -> None:
    random = np.random.default_rng(1)
    alone, together = 0, 0
    for _ in range(200):
        # Sixteen rows a request, all of one kind; half of the requests have labels, at random.
        kind, others = (16 * int(one) for one in random.binomial(40, 0.5, size=2))
        one = Stratum(640, 640, kind, others)
        alone += selection([one]).log_e >= log_threshold(0.01)
        together += selection([one], 16.0).log_e >= log_threshold(0.01)
    assert alone > 20
    assert together <= 2


def test_standard_errors_are_those_of_one_look() -> None:
    # Of 200 rows half have labels: of either kind 50 are expected, and the variance is 200/4 · 1/4 · 200/199.
    seen = selection([Stratum(100, 100, 60, 40)])
    assert seen.errors == pytest.approx(10.0 / math.sqrt(100 * 100 * 100 * 100 / (200**2 * 199)))
    assert selection([Stratum(100, 100, 60, 40)], effect=4.0).errors == pytest.approx(seen.errors / 2.0)
    assert selection([Stratum(100, 100, 100, 100)]).errors == 0.0
