"""What one look takes of the labels' slices: for harm, for "no worse", and of mirrored rows."""

from collections.abc import Mapping

import pytest

from evaluator.evidence.label_looks import Known, Taken, judge_labels, place_of, take_labels, take_pairs
from evaluator.evidence.ledger import Ledger
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.opening import GateState, open_gate
from evaluator.gates.rates import RateGate
from evaluator.terms import Terms
from evaluator.window.arms import SliceKey
from evaluator.window.labels import ERROR_BUCKETS, VALUE_BUCKETS, Labels, OfClass, SliceCounts
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from services.common.telemetry.bounds import VALUE_BOUNDS
from services.common.telemetry.catalog import COHORTS
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
    one, two = counts(9, 90), counts(8, 80)
    taken = take_labels(ledger({BEFORE: one, NOW: two}), terms, known({1: 0, 2: 0}, step=0))
    assert taken.aged == taken.mature == taken_of(*([two] if sticky else [one, two]))


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


def taken(past: Labels, young: Labels, aged: Labels, mature: Labels) -> Taken:
    """What a look takes; of the past the stable arm alone, and of the others the same in both."""
    both = [[(one, one)] for one in (young, aged, mature)]
    return Taken([(Labels(), past)], both[0], both[1], both[2], (1.0, 1.0), Ledger())


def gates(*drafts: GateDraft, sticky: bool = False, judge_young: bool = False) -> tuple[Terms, list[GateState]]:
    policy = demo_policy(task="", gates=(ERRORS, *drafts), judge_young=judge_young)
    terms = demo_terms(policy, features=0, sticky=sticky)
    return terms, [gate for one in policy.gates if (gate := open_gate(one, terms)) is not None]


ROWS = taken(Labels(1_000, 100), Labels(40), Labels(30), Labels(20))


@pytest.mark.parametrize(
    ("draft", "judge_young", "harm"),
    [
        (GateDraft(MetricKind.ACCURACY), False, 30),
        (GateDraft(MetricKind.ACCURACY), True, 40),
        (GateDraft(MetricKind.PAIRED_ACCURACY), True, 30),
    ],
)
def test_harm_is_judged_by_what_may_show_it_and_no_worse_by_what_is_mature(
    draft: GateDraft, judge_young: bool, harm: int
) -> None:
    terms, (errors, quality) = gates(draft, judge_young=judge_young)
    after = judge_labels([quality], [ROWS], terms)[0]
    assert (after.test_n, after.step_n) == (harm, 20)
    if isinstance(after, RateGate):
        assert float(after.harm.n_past) == 1_000.0 + harm
    # Attempts are not labelled.
    assert judge_labels([errors], [ROWS], terms)[0] is errors


def test_labels_of_a_class_are_taken_by_the_gate_on_it_and_of_each_by_the_gate_on_all() -> None:
    recall = GateDraft(MetricKind.RECALL, positive="7")
    terms, (_, seven, every) = gates(recall, GateDraft(MetricKind.RECALL, "every", positive="*"))
    assert terms.classes == ("3", "7")

    def of(three: int, seven: int) -> Labels:
        classes = tuple(OfClass(rows, rows, rows) for rows in (three, seven))
        return Labels(three + seven, classes=classes)

    found = taken(of(500, 500), of(4, 9), of(3, 8), of(2, 7))
    after = judge_labels([seven], [found], terms)[0]
    assert (after.test_n, after.step_n) == (9, 7)
    each = judge_labels([every], [found], terms)[0]
    assert isinstance(each, EachClassGate)
    assert [(part.test_n, part.step_n) for part in each.parts] == [(4, 2), (9, 7)]


def test_numbers_are_good_above_the_bound_of_their_gate() -> None:
    bound = VALUE_BOUNDS[5]
    terms, (_, value) = gates(GateDraft(MetricKind.VALUE, above=bound))
    numbers = tuple(10 if bucket in {5, 6} else 0 for bucket in range(VALUE_BUCKETS))
    one = Labels(20, errors=numbers)
    after = judge_labels([value], [taken(one, one, one, one)], terms)[0]
    assert isinstance(after, RateGate)
    assert place_of(after, terms) == 5
    assert (after.seen.n_test, after.seen.x_test) == (20.0, 10.0)


def test_absolute_errors_are_learnt_of_the_past_and_judged_when_they_are_old_enough() -> None:
    terms, (_, error) = gates(GateDraft(MetricKind.ABSOLUTE_ERROR))

    def of(rows: int) -> Labels:
        return Labels(rows, errors=(0, 0, rows, *(0,) * (ERROR_BUCKETS - 3)))

    after = judge_labels([error], [taken(of(500), of(40), of(30), of(20))], terms)[0]
    assert isinstance(after, DistributionGate)
    assert (after.test_n, after.step_n, after.control_n) == (30, 20, 30)
    assert after.harm.past.counts.sum() == 530.0


def test_by_key_harm_takes_aged_slices_by_cohort() -> None:
    terms, (_, accuracy) = gates(GateDraft(MetricKind.ACCURACY), sticky=True)

    def of(each: int) -> Labels:
        return Labels(each * COHORTS, good_by=(each,) * COHORTS, bad_by=(0,) * COHORTS)

    after = judge_labels([accuracy], [taken(of(9), of(4), of(3), of(2))], terms)[0]
    assert isinstance(after, CohortGate)
    assert (after.seen.n_test, after.mature.n_test) == (3.0 * COHORTS, 2.0 * COHORTS)
