"""Labels by slice of routing time: when a slice counts, what of it was taken, and what a drift leaves out."""

import math

from evaluator.evidence.ledger import Ledger
from evaluator.window.arms import SliceKey
from evaluator.window.labels import Labels, SliceCounts
from services.common.policy.records import LabelMaturity

MATURITY = LabelMaturity()


def ten_seconds(epoch: int) -> float | None:
    """The epochs 1 and 2 are the rollout's."""
    return 10.0 if epoch in (1, 2) else None


def counts(test: int, stable: int, labels: tuple[int, int] = (0, 0)) -> SliceCounts:
    return SliceCounts(test, stable, Labels(labels[0]), Labels(labels[1]))


def ledger(*keys: SliceKey, of: SliceCounts | None = None) -> Ledger:
    return Ledger().plus(dict.fromkeys(keys, of or counts(10, 100, (9, 90))))


def test_a_slice_is_old_enough_so_long_after_its_end() -> None:
    found = ledger((2, 1))
    assert found.aged(0.0, 79.9, 60.0, ten_seconds) == []
    assert found.aged(0.0, 80.0, 60.0, ten_seconds) == [(2, 1)]


def test_a_slice_that_ended_before_the_rollout_began_is_of_an_unknown_time() -> None:
    found = ledger((2, 1))
    assert found.aged(20.0, 1_000.0, 0.0, ten_seconds) == [(2, 1)]
    assert found.aged(20.1, 1_000.0, 0.0, ten_seconds) == []


def test_only_slices_of_the_rollouts_epochs_with_a_test_arm_are_judged() -> None:
    found = ledger((1, 4), (2, 5), (3, 6)).plus({(2, 7): counts(0, 100, (0, 90)), (2, 8): counts(0, 100, (3, 90))})
    assert found.aged(0.0, 1_000.0, 0.0, ten_seconds) == [(1, 4), (2, 5)]


def test_labels_of_slices_without_a_test_arm_are_of_the_past() -> None:
    found = Ledger().plus(
        {
            (2, 1): counts(0, 100, (0, 90)),
            # Its predictions are counted by a Worker, and may be read later than the Router's labels.
            (2, 2): counts(0, 100, (4, 91)),
            (2, 3): counts(10, 100, (0, 92)),
            (2, 4): counts(10, 100),
        }
    )
    past, rows, after = found.take_young(ten_seconds)
    assert past == [(Labels(), Labels(90))]
    assert rows == [(Labels(4), Labels(91)), (Labels(), Labels(92))]
    assert set(after.young_taken) == {(2, 1), (2, 2), (2, 3)}
    assert after.take_young(ten_seconds)[:2] == ([], [])


def test_slices_are_taken_in_the_order_of_their_time_however_they_were_counted() -> None:
    one, two = counts(10, 100, (1, 10)), counts(10, 100, (2, 20))
    for slices in ({(2, 1): one, (2, 3): two}, {(2, 3): two, (2, 1): one}):
        found = Ledger().plus(slices)
        assert found.take_young(ten_seconds)[1] == [(one.test, one.stable), (two.test, two.stable)]
        assert found.aged(0.0, 1_000.0, 0.0, ten_seconds) == [(2, 1), (2, 3)]


def test_labels_of_aged_slices_are_taken_once() -> None:
    rows, after = ledger((2, 1)).take_aged([(2, 1)])
    assert rows == [(Labels(9), Labels(90))]
    assert after.take_aged([(2, 1)])[0] == []
    # Harm's taking is not safety's.
    assert after.take_safe([(2, 1)], MATURITY)[0] == rows


def test_a_slice_is_covered_where_half_of_both_arms_predictions_have_labels() -> None:
    for of, covered in (
        (counts(10, 100, (5, 50)), True),
        (counts(10, 100, (4, 50)), False),
        (counts(10, 100, (5, 49)), False),
        (counts(10, 0, (5, 0)), False),
        (counts(0, 100, (0, 50)), False),
    ):
        rows, _ = ledger((2, 1), of=of).take_safe([(2, 1)], MATURITY)
        assert bool(rows) is covered, of


def test_coverage_is_of_both_arms_by_themselves_and_unknown_without_predictions() -> None:
    found = Ledger().plus({(2, 1): counts(10, 100, (9, 50)), (2, 2): counts(30, 100, (1, 50))})
    assert found.coverage([(2, 1), (2, 2)]) == (10 / 40, 100 / 200)
    assert found.coverage([(2, 1)]) == (0.9, 0.5)
    test, stable = Ledger().plus({(2, 1): counts(0, 100, (0, 50))}).coverage([(2, 1)])
    assert math.isnan(test)
    assert stable == 0.5
    assert found.labels() == (10, 100)


def test_a_drift_leaves_out_the_slices_that_it_touches_and_no_others() -> None:
    # Slices of 0 to 10 s, 10 to 20 s, and so on; a drift from 20 s to 30 s.
    found = ledger(*((2, number) for number in range(5))).rest(20.0)
    assert found.aged(0.0, 1_000.0, 0.0, ten_seconds) == [(2, 0), (2, 1)]
    found = found.wake(30.0)
    assert found.aged(0.0, 1_000.0, 0.0, ten_seconds) == [(2, 0), (2, 1), (2, 3), (2, 4)]
    # A second one does not bring the first one's back.
    found = found.rest(41.0)
    assert found.aged(0.0, 1_000.0, 0.0, ten_seconds) == [(2, 0), (2, 1), (2, 3)]
    assert found.wake(50.0).aged(0.0, 1_000.0, 0.0, ten_seconds) == [(2, 0), (2, 1), (2, 3)]


def test_of_slices_whose_time_is_unknown_none_is_left_out_of_the_past() -> None:
    found = ledger((3, 1), of=counts(0, 100, (0, 90))).rest(0.0)
    assert found.take_young(ten_seconds)[0] == [(Labels(), Labels(90))]


def test_labels_that_come_later_to_one_arm_hold_safety() -> None:
    labelled = {(2, 1): SliceCounts(100, 1000, Labels(95, 5), Labels(600, 60))}
    ledger = Ledger().plus(labelled)
    keys = ledger.aged(0.0, 1e9, 60.0, lambda epoch: 10.0)
    assert ledger.coverage(keys) == (0.95, 0.6)


def test_a_slice_is_taken_once_and_only_its_new_labels_later() -> None:
    ledger = Ledger().plus({(2, 1): SliceCounts(100, 1000, Labels(60, 5), Labels(600, 60))})
    rows, ledger = ledger.take_safe([(2, 1)], LabelMaturity())
    assert rows == [(Labels(60, 5), Labels(600, 60))]
    ledger = ledger.plus({(2, 1): SliceCounts(0, 0, Labels(3, 1), Labels(0, 0))})
    rows, ledger = ledger.take_safe([(2, 1)], LabelMaturity())
    assert rows == [(Labels(3, 1), Labels())]
    assert ledger.take_safe([(2, 1)], LabelMaturity())[0] == []


def test_a_slice_with_too_few_labels_waits() -> None:
    ledger = Ledger().plus({(2, 1): SliceCounts(100, 1000, Labels(49, 5), Labels(600, 60))})
    assert ledger.take_safe([(2, 1)], LabelMaturity())[0] == []


def test_slices_of_a_drift_are_left_out_for_good() -> None:
    counts = {(2, number): SliceCounts(10, 100, Labels(10, 1), Labels(100, 10)) for number in range(6)}
    ledger = Ledger().plus(counts).rest(25.0)
    assert ledger.resting
    ledger = ledger.wake(35.0)
    assert not ledger.resting
    _, rows, ledger = ledger.take_young(lambda epoch: 10.0)
    assert len(rows) == 4
    assert set(ledger.young_taken) == {(2, 0), (2, 1), (2, 4), (2, 5)}
