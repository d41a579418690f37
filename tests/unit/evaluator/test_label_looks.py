"""What one look takes of the labels' slices: for harm, for "no worse", and of mirrored rows."""

from collections.abc import Mapping

import pytest

from evaluator.evidence.label_looks import Known, take_labels, take_pairs
from evaluator.evidence.ledger import Ledger
from evaluator.terms import Terms
from evaluator.window.arms import SliceKey
from evaluator.window.labels import Labels, SliceCounts
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from tests.fakes.rollouts import DEMO_GATES, demo_plan, demo_policy, demo_terms

BEFORE, NOW, LATE = (1, 1), (2, 50), (2, 99)
"""Slices of 10 s: of the step before; of the present one; of the present one and not old enough yet."""
TERMS = demo_terms(plan=demo_plan(1000, 5000))


def counts(test: int, stable: int, of: tuple[int, int] = (10, 100)) -> SliceCounts:
    return SliceCounts(*of, Labels(test), Labels(stable))


COVERED, UNLIKE = counts(9, 90), counts(9, 60)
"""Labels of as many of both arms' answers, and of far fewer of stable's."""


def known(steps: Mapping[int, int] | None = None, **changes: object) -> Known:
    found = Known(0.0, 1_000.0, 60.0, 1, dict(steps or {1: 0, 2: 1}), 2, lambda epoch: 10.0)
    return found._replace(**changes)  # type: ignore[arg-type] # fields by name


def ledger(slices: Mapping[SliceKey, SliceCounts]) -> Ledger:
    return Ledger().plus(slices)


def taken_of(*counted: SliceCounts) -> list[tuple[Labels, Labels]]:
    return [(one.test, one.stable) for one in counted]


def test_no_worse_is_shown_by_aged_slices_of_the_present_step_and_harm_by_those_of_all() -> None:
    one, two, three = counts(9, 90), counts(8, 80), counts(7, 70)
    taken = take_labels(ledger({BEFORE: one, NOW: two, LATE: three}), TERMS, known())
    assert taken.young == taken_of(one, two, three)
    assert taken.aged == taken_of(one, two)
    assert taken.mature == taken_of(two)
    assert taken.coverage == (0.8, 0.8)
    again = take_labels(taken.ledger, TERMS, known())
    assert (again.young, again.aged, again.mature) == ([], [], [])


def test_without_an_aged_slice_of_the_step_no_coverage_is_known_and_nothing_is_mature() -> None:
    taken = take_labels(ledger({BEFORE: COVERED, LATE: COVERED}), TERMS, known())
    assert (taken.coverage, taken.mature) == (None, [])
    assert taken.aged == taken_of(COVERED)


def test_where_it_is_not_known_how_late_labels_come_nothing_is_mature_and_harm_is_harm() -> None:
    taken = take_labels(ledger({NOW: COVERED}), TERMS, known(lateness=False))
    assert (taken.mature, taken.aged) == ([], taken_of(COVERED))


def test_labels_that_do_not_reach_both_arms_alike_show_nothing() -> None:
    taken = take_labels(ledger({NOW: UNLIKE}), TERMS, known())
    assert (taken.aged, taken.mature, taken.coverage) == ([], [], (0.9, 0.6))
    # In the step alone they are unlike, and over all slices alike.
    taken = take_labels(ledger({BEFORE: counts(900, 9_000, (1_000, 10_000)), NOW: UNLIKE}), TERMS, known())
    assert (len(taken.aged), taken.mature) == (2, [])
    # Over all slices they are unlike, and in the step alike.
    taken = take_labels(ledger({BEFORE: counts(900, 6_000, (1_000, 10_000)), NOW: COVERED}), TERMS, known())
    assert (taken.aged, taken.mature) == ([], taken_of(COVERED))


@pytest.mark.parametrize("sticky", [False, True])
def test_by_key_only_slices_of_the_present_split_are_taken(sticky: bool) -> None:
    terms = demo_terms(plan=demo_plan(1000), sticky=sticky)
    taken = take_labels(ledger({BEFORE: COVERED, NOW: COVERED}), terms, known({1: 0, 2: 0}, step=0))
    assert len(taken.aged) == len(taken.mature) == (1 if sticky else 2)


SHADOWED = demo_plan(1000, 5000, shadow=1)
ERRORS = GateDraft(MetricKind.ERRORS, required=True)


def paired(name: str, harm: float) -> GateDraft:
    return GateDraft(MetricKind.PAIRED_ACCURACY, name, required=True, harm=GateMargin(offset=harm))


def pairing(*gates: GateDraft) -> Terms:
    return demo_terms(demo_policy(gates=(ERRORS, *gates)), SHADOWED)


def mirrored(labelled: int = 99_000) -> SliceCounts:
    """Labels of nearly all rows, which mislead by 0.11 points at most."""
    share = labelled / 100_000
    labels = Labels(labelled, agreeing=round(98_000 * share) - round(100 * share))
    return SliceCounts(100_000, 100_000, labels, labels, 98_000)


def test_slices_of_a_shadow_step_are_of_mirrored_rows_and_no_others_are() -> None:
    terms = pairing(paired("paired", 0.02))
    slices = ledger({BEFORE: mirrored(), NOW: COVERED})
    assert take_labels(slices, terms, known()).aged == taken_of(COVERED)
    assert take_pairs(slices, terms, known(step=0)).aged == taken_of(mirrored())


def test_labels_of_mirrored_rows_count_while_they_mislead_by_less_than_the_least_margin_of_pairs() -> None:
    slices = ledger({BEFORE: mirrored()})
    for gates, fair in (
        ((paired("a", 0.006),), True),
        # The errors' margin is smaller, and nothing to pairs.
        ((paired("a", 0.006), paired("b", 0.02)), True),
        ((paired("a", 0.001), paired("b", 0.02)), False),
    ):
        taken = take_pairs(slices, pairing(*gates), known(step=0))
        assert bool(taken.aged) is bool(taken.mature) is fair
        assert taken.coverage == (0.99, 0.99)
    # None of them is old enough.
    assert take_pairs(slices, pairing(paired("a", 0.006)), known(step=0, read=70.0)).coverage is None
    nobody = demo_terms(demo_policy(gates=DEMO_GATES), SHADOWED)
    assert take_pairs(slices, nobody, known(step=0)).aged == []


def test_pairs_show_nothing_where_it_is_not_known_how_late_labels_come() -> None:
    terms = pairing(paired("a", 0.02))
    assert take_pairs(ledger({BEFORE: mirrored()}), terms, known(step=0, lateness=False)).aged == []


def test_pairs_of_a_step_before_show_harm_and_not_that_the_version_is_no_worse_in_this_one() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS, paired("a", 0.02))), demo_plan(1000, 5000, shadow=2))
    taken = take_pairs(ledger({BEFORE: mirrored(), NOW: mirrored()}), terms, known())
    assert (len(taken.aged), len(taken.mature)) == (2, 1)
