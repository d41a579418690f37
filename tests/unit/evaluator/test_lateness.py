"""How late labels come, worked out by hand."""

import pytest

from evaluator.evidence.lateness import NO_LAGS, USUAL, Lateness, usual_lag
from evaluator.terms import Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import InstanceCounts, Series
from services.common.telemetry.bounds import LAG_BOUNDS
from tests.fakes.rollouts import demo_terms

TERMS: Terms = demo_terms(features=0)


def lags(**counts: int) -> tuple[int, ...]:
    """Labels by their lag, of the buckets b0, b1, …"""
    return tuple(counts.get(f"b{bucket}", 0) for bucket in range(len(NO_LAGS)))


def test_ninety_nine_of_a_hundred_labels_say_how_long_they_take() -> None:
    assert usual_lag(lags(b0=99, b5=1), USUAL) == LAG_BOUNDS[0]
    assert usual_lag(lags(b0=98, b5=2), USUAL) == LAG_BOUNDS[5]
    # What took longer than the last bound is said to have taken that.
    last = {f"b{len(LAG_BOUNDS)}": 100}
    assert usual_lag(lags(**last), USUAL) == LAG_BOUNDS[-1]


def test_of_less_than_twenty_labels_it_is_not_known_how_long_they_take() -> None:
    assert usual_lag(lags(b3=19), USUAL) == 0.0
    assert usual_lag(lags(b3=20), USUAL) == LAG_BOUNDS[3]


def series(counts: tuple[int, ...], version: str = "v1", metric: str = "lag", **at: str) -> Series:
    attributes = {"model": "m", "version": version, "traffic": "live", **at}
    return Series(f"crossfade.feedback.{metric}", tuple(sorted(attributes.items())), counts)


def of_class(name: str, counts: tuple[int, ...], version: str = "v1") -> Series:
    return series(counts, version, "class.lag", actual=name)


def counted(*found: Series) -> Lateness:
    return Lateness().plus(ArmCounts((InstanceCounts("router", 1, found),), TERMS))


def test_a_rare_class_whose_labels_all_come_late_is_waited_for() -> None:
    # 0.3 % of the labels, right nearly always: neither of all labels nor of the wrong ones would one see it.
    soon = series(lags(b7=10_000, b14=30), correct="true"), of_class("ok", lags(b7=10_000))
    late = lags(b14=30)
    assert counted(*soon, of_class("fraud", late)).usual == LAG_BOUNDS[14]
    assert counted(*soon, of_class("fraud", late, "v2")).usual == LAG_BOUNDS[14]
    # A process of a release before this one does not count them by class.
    assert counted(*soon).usual == LAG_BOUNDS[7]


@pytest.mark.parametrize(("rows", "bucket"), [(19, 7), (20, 14)])
def test_of_a_class_too_twenty_labels_must_have_come(rows: int, bucket: int) -> None:
    soon = of_class("ok", lags(b7=10_000))
    assert counted(soon, of_class("fraud", lags(b14=rows))).usual == LAG_BOUNDS[bucket]


def test_a_classs_stragglers_are_not_waited_for() -> None:
    soon = of_class("ok", lags(b7=10_000))
    assert counted(soon, of_class("fraud", lags(b7=95, b14=5))).usual == LAG_BOUNDS[7]
    assert counted(soon, of_class("fraud", lags(b7=94, b14=6))).usual == LAG_BOUNDS[14]


def test_the_versions_labels_of_a_class_are_two_counts() -> None:
    ten = lags(b14=10)
    assert counted(of_class("fraud", ten), of_class("fraud", ten)).usual == LAG_BOUNDS[14]
    assert counted(of_class("fraud", ten), of_class("fraud", ten, "v2")).usual == 0.0


def test_looks_add_up_and_processes_with_other_buckets_and_versions_count_nothing() -> None:
    ten = InstanceCounts("router", 1, (series(lags(b3=10), correct="false"),))
    others = (
        series((20,), correct="false"),
        series(lags(b9=100), "v9", correct="false"),
        series(lags(b9=100), correct="false", traffic="pinned"),
        of_class("fraud", lags(b9=100), "v9"),
    )
    lateness = (
        Lateness().plus(ArmCounts((ten,), TERMS)).plus(ArmCounts((ten, InstanceCounts("worker", 1, others)), TERMS))
    )
    assert (lateness.wrong(test=False), lateness.wrong(test=True)) == (20, 0)
    assert lateness.usual == LAG_BOUNDS[3]
    assert Lateness().usual == 0.0
