"""When labels may be complete: the numbers of it, worked out by hand."""

import math

import pytest

from evaluator.gates.maturity import is_alike, is_fair, misleading, shows_young
from evaluator.window.labels import Labels, SliceCounts
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, LabelMaturity, Limit, Need

MATURITY = LabelMaturity()


def test_labels_are_alike_up_to_the_gap_and_not_where_an_arm_has_no_predictions() -> None:
    quarter = LabelMaturity(max_coverage_gap=0.25)
    assert is_alike((0.75, 0.5), quarter)
    assert is_alike((0.5, 0.75), quarter)
    assert not is_alike((0.8, 0.5), quarter)
    assert not is_alike((0.5, 0.8), quarter)
    assert not is_alike((math.nan, 0.5), quarter)


def mirrored(
    noted: int, agreeing: int, labelled: int, labelled_agreeing: int, alone: tuple[int, int] = (0, 0)
) -> SliceCounts:
    """Mirrored rows; `alone`: those on which the test version, and on which stable, was wrong alone."""
    test, stable = (Labels(labelled, one, alone=one, agreeing=labelled_agreeing) for one in alone)
    return SliceCounts(noted, noted, test, stable, agreeing)


@pytest.mark.parametrize(
    ("counted", "by"),
    [
        # 62.5 % of the rows that agree have labels, and 50 % of the others; or 56.25 % and 75 %.
        (mirrored(1_000, 800, 600, 500), 0.2 * (0.125 + math.sqrt(0.24 * 0.00625)) / 0.6),
        (mirrored(1_000, 800, 600, 450), 0.2 * (0.1875 + math.sqrt(0.24 * 0.00625)) / 0.6),
        # Nearly all rows have a label: those that have none change no more than their own share.
        (mirrored(1_000, 100, 950, 60), 0.05 / 0.95),
        # Labels of rows whose copies were counted by a process that has ended since.
        (mirrored(100, 60, 110, 66), 0.0),
        (mirrored(100, 0, 110, 0), 0.0),
    ],
)
def test_labels_mislead_by_as_much_as_rows_that_differ_are_labelled_otherwise(counted: SliceCounts, by: float) -> None:
    assert misleading(counted) == pytest.approx(by)


def test_labels_are_fair_while_they_mislead_by_half_of_the_margin_at_most() -> None:
    counted = mirrored(1_000, 800, 900, 720)
    by = misleading(counted)
    assert is_fair(counted, 2.01 * by, MATURITY)
    assert not is_fair(counted, 1.99 * by, MATURITY)


@pytest.mark.parametrize("alone", [(100, 0), (0, 100)])
def test_where_versions_are_further_apart_half_of_that_may_mislead(alone: tuple[int, int]) -> None:
    by = misleading(mirrored(1_000, 800, 900, 720))
    assert 0.0 < by < 100 / 900 / 2
    assert is_fair(mirrored(1_000, 800, 900, 720, alone), 0.0, MATURITY)
    assert not is_fair(mirrored(1_000, 800, 900, 720, (50, 50)), 0.0, MATURITY)
    assert not is_fair(mirrored(1_000, 800, 900, 720, (51, 50)), 0.0, MATURITY)


def test_without_a_margin_a_thousandth_may_mislead() -> None:
    assert is_fair(mirrored(100_000, 99_900, 99_000, 98_901), 0.0, MATURITY)


def test_labels_of_half_of_the_mirrored_rows_are_enough_and_those_of_none_are_not() -> None:
    assert is_fair(mirrored(1_000, 1_000, 500, 500), 0.01, MATURITY)
    assert not is_fair(mirrored(1_000, 1_000, 499, 499), 0.01, MATURITY)
    assert not is_fair(mirrored(0, 0, 5, 5), 0.01, MATURITY)


@pytest.mark.parametrize(
    ("metric", "asked", "young"),
    [
        (MetricKind.ACCURACY, False, False),
        (MetricKind.ACCURACY, True, True),
        (MetricKind.RECALL, False, True),
        (MetricKind.PRECISION, False, True),
        (MetricKind.F1, True, False),
        (MetricKind.ABSOLUTE_ERROR, True, False),
        (MetricKind.VALUE, True, False),
        (MetricKind.PAIRED_ACCURACY, True, False),
    ],
)
def test_labels_of_young_slices_show_harm_where_they_are_of_one_class(
    metric: MetricKind, asked: bool, young: bool
) -> None:
    gate = Gate("quality", metric, Need.ALWAYS, GateMargin(), GateMargin(), 1.0)
    assert shows_young(gate, LabelMaturity(judge_young=asked)) is young
    limited = Gate("limit", metric, Need.ALWAYS, GateMargin(), GateMargin(), 1.0, limit=Limit(at_least=0.9))
    assert not shows_young(limited, LabelMaturity(judge_young=asked))
