"""What an undecided gate waits for, as people read it: each obstacle by a state that has it."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.ledger import Ledger
from evaluator.evidence.state import State, start
from evaluator.gates.balance import BalanceGate
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import GateState
from evaluator.gates.paired import PairedGate
from evaluator.gates.rates import RateGate
from evaluator.statistics.cohorts import CohortCounts
from evaluator.statistics.schedule import Schedule
from evaluator.verdict.waits import waits_for
from evaluator.window.arms import BUCKETS, SliceKey
from evaluator.window.labels import Labels, SliceCounts
from evaluator.window.other_lanes import OtherLanes
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Limit, Plan, Step
from services.common.telemetry.catalog import COHORTS
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms

ERRORS = GateDraft(MetricKind.ERRORS, required=True)
ACCURACY = GateDraft(MetricKind.ACCURACY)
VALUE = GateDraft(MetricKind.VALUE)
NOW = 1_000.0
"""Slices of 10 s: the number 90 ended 90 s ago."""


def state_of(draft: GateDraft, *, min_age: float | None = 30.0, sticky: bool = False, **more: object) -> State:
    """The state of a rollout with that gate beside one on errors, changed in some fields."""
    policy = demo_policy(task="", gates=(ERRORS, draft), min_age=min_age)
    terms = demo_terms(policy, demo_plan(1000, period=600.0), sticky=sticky)
    found = replace(start(terms), time=NOW, epoch=2, step=0, steps={2: 0}, slices={2: 10.0})
    return replace(found, **more)  # type: ignore[arg-type] # fields by name


def waits(state: State, gate: GateState | None = None, needed: int = 0, seconds: float = 0.0) -> str:
    return waits_for(state, gate or state.gates[1], needed, seconds)


def counts(test: int, stable: int) -> SliceCounts:
    return SliceCounts(100, 1_000, Labels(test), Labels(stable))


def slices(of: Mapping[SliceKey, SliceCounts]) -> Ledger:
    return Ledger().plus(of)


LABELLED = slices({(2, 90): counts(90, 900)})


def of_rates(state: State, past: int, judged: int) -> RateGate:
    gate = state.gates[-1]
    assert isinstance(gate, RateGate)
    gate = gate.learn([(0, 0, past, past // 10)])
    return gate.judge_harm([(judged, 0, 0, 0)]) if judged else gate


@pytest.mark.parametrize(
    ("past", "judged", "needed", "seconds", "said"),
    [
        (500, 0, 7, 9.0, "attempts of v2: none yet"),
        (40, 5, 7, 9.0, "60 attempts of v1, to know what is usual"),
        (99, 5, 7, 9.0, "1 attempt of v1, to know what is usual"),
        (100, 5, 0, 0.0, "more attempts of v2"),
        (100, 5, 1, 0.0, "about 1 more attempt of v2"),
        (100, 5, 700, 0.0, "about 700 more attempts of v2"),
        (100, 5, 700, 90.0, "about 700 more attempts of v2: 2 min at this traffic"),
    ],
)
def test_attempts_are_waited_for(past: int, judged: int, needed: int, seconds: float, said: str) -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS,)), features=0)
    state = start(terms)
    assert waits(state, of_rates(state, past, judged), needed, seconds) == said


def test_callers_of_a_floor_are_waited_for_by_name() -> None:
    state = state_of(GateDraft(MetricKind.ERRORS, segment="eu"))
    assert waits(state) == "attempts of v2 for callers in eu: none yet"


def test_against_a_number_nothing_needs_to_be_usual() -> None:
    state = state_of(GateDraft(MetricKind.ERRORS, limit=Limit(at_most=0.1)))
    assert waits(state, of_rates(state, 0, 5)) == "more attempts of v2"
    limited = state_of(GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=0.02)))
    gate = limited.gates[1]
    assert isinstance(gate, RuntimeLimitGate)
    assert waits(limited, gate.judge([(1, batches(5), batches(0))])) == "more batches of v2"


def batches(number: int) -> tuple[int, ...]:
    return (*(0,) * 40, number, *(0,) * (BUCKETS - 41))


def test_runtimes_wait_for_both_processes_and_for_what_is_usual() -> None:
    state = state_of(GateDraft(MetricKind.RUNTIME))
    gate = state.gates[1]
    assert isinstance(gate, DistributionGate)
    assert waits(state) == "batches of v2: none yet"
    assert waits(state, gate.judge([(1, batches(5), batches(0))])) == "batches of v1's control process: none yet"
    both = gate.judge([(1, batches(5), batches(1))]).learn([(1, batches(0), batches(20))])
    assert waits(state, both) == "9 batches of v1, to know what is usual"
    known = both.learn([(1, batches(0), batches(9))])
    assert waits(state, known, 40) == "about 40 more batches of v2"
    # Another lane's requests are in the way at once.
    busier = replace(state, others=OtherLanes(100.0, 100.0, {"": 300.0, "eu": 100.0}))
    for one in (gate, known):
        assert waits(busier, one).startswith(
            "processes that are as busy: 80.0 % of the requests that v2's process answers are of other lanes (the "
            "default one and eu), and 0.00 % of those of v1's control process"
        )
    absolute = state_of(GateDraft(MetricKind.ABSOLUTE_ERROR), ledger=LABELLED, coverage=(0.9, 0.9))
    assert waits(replace(absolute, others=busier.others)) == "mature labels of v2: none yet"


def test_shares_of_classes_wait_until_it_is_known_what_is_usual() -> None:
    state = state_of(GateDraft(MetricKind.CLASS_BALANCE))
    gate = state.gates[1]
    assert isinstance(gate, BalanceGate)
    assert waits(state) == "predictions of v2: none yet"
    judged = gate.judge([((3, 4), (0, 0))])
    assert waits(state, judged) == "100 predictions of v1, to know what is usual"
    assert waits(state, judged.learn([((0, 0), (50, 50))]), 9) == "about 9 more predictions of v2"


def test_of_all_classes_the_one_that_is_waited_for_is_named() -> None:
    state = state_of(GateDraft(MetricKind.RECALL, positive="*"), ledger=LABELLED, coverage=(0.9, 0.9))
    gate = state.gates[1]
    assert isinstance(gate, EachClassGate)
    judged = gate.each(lambda part: part.judge_harm([(5, 1, 200, 9)]).judge_safe([(5, 1, 200, 9)]))
    assert waits(state, judged, 30) == "about 30 more mature positive rows of v2 (class 3)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ledger": Ledger()}, "labels of v1: none yet"),
        ({"ledger": slices({(2, 90): counts(5, 0)})}, "labels of v1: none yet"),
        ({"ledger": slices({(2, 90): counts(0, 5)})}, "labels of v2: none yet"),
        ({"ledger": LABELLED.rest(0.0)}, "the end of the drift of the inputs"),
        ({"ledger": LABELLED}, "labels to be 30 s old"),
        (
            {"ledger": slices({(2, 99): counts(5, 50)})},
            "labels to be 30 s old, in slices of 10 s: the first is in 30 s",
        ),
        # The oldest one of the present split in which the version was predicted by is the first.
        (
            {
                "ledger": slices(
                    {(2, 98): counts(5, 50), (2, 99): counts(5, 50), (2, 80): SliceCounts(0, 9), (1, 9): counts(5, 9)}
                )
            },
            "labels to be 30 s old, in slices of 10 s: the first is in 20 s",
        ),
        ({"ledger": slices({(2, 96): counts(5, 50)})}, "labels to be 30 s old"),
        ({"ledger": slices({(1, 99): counts(5, 50)})}, "labels to be 30 s old"),
        ({"ledger": slices({(2, 99): counts(5, 50)}), "slices": {}}, "labels to be 30 s old"),
        (
            {"ledger": LABELLED, "coverage": (0.9, 0.9), "too_late": 40},
            (
                "labels that come in time: 40 labels of v2 came too late to be counted, more than 2.00 %, and those "
                "may be of its wrong answers; a longer period keeps them for longer"
            ),
        ),
        (
            {"ledger": LABELLED, "coverage": (0.4, 0.9)},
            "labels: 40.0 % of v2's answers have one, 50.0 % are needed",
        ),
        (
            {"ledger": LABELLED, "coverage": (0.9, math.nan)},
            "answers of v1 to compare with: none in the same slices yet",
        ),
        (
            {"ledger": LABELLED, "coverage": (0.9, 0.7)},
            (
                "labels that reach both versions alike: 90.0 % of v2's answers have one and 70.0 % of v1's; they "
                "may differ by 10 points"
            ),
        ),
        ({"ledger": LABELLED, "coverage": (0.5, 0.5)}, "mature labels of v2: none yet"),
    ],
)
def test_labels_are_waited_for_until_they_are_mature(changes: dict[str, object], said: str) -> None:
    assert waits(replace(state_of(ACCURACY), **changes)) == said  # type: ignore[arg-type] # fields by name


@pytest.mark.parametrize(("judged", "left"), [(0.0, "5 min"), (290.0, "10 s"), (299.0, "1 s")])
def test_in_a_lane_that_is_new_to_labels_half_of_the_period_is_waited_for(judged: float, left: str) -> None:
    labels = state_of(ACCURACY, min_age=None, ledger=LABELLED, coverage=(0.9, 0.9), judged_seconds=judged)
    assert waits(labels) == (
        f"labels that may be late: the lane is new to them, so half of the period is waited for ({left} more)"
    )
    values = replace(labels, terms=state_of(VALUE, min_age=None).terms, gates=state_of(VALUE).gates)
    values = replace(values, values=LABELLED, value_coverage=(0.9, 0.9))
    assert waits(values) == "mature values of v2: none yet"


def test_the_period_that_is_waited_for_is_the_present_steps() -> None:
    plan = Plan((Step(500, 0.0, 600.0), Step(1_000, 0.0, 60.0)))
    labels = state_of(ACCURACY, min_age=None, ledger=LABELLED, coverage=(0.9, 0.9))
    labels = replace(labels, terms=replace(labels.terms, plan=plan), step=1)
    assert waits(labels).endswith("half of the period is waited for (30 s more)")
    keyed = state_of(ACCURACY, sticky=True)
    keyed = replace(keyed, terms=replace(keyed.terms, plan=plan), step=1)
    assert waits(keyed, by_key(1)) == "its next look, in 2 s: by key there are few"


def test_values_and_labels_of_a_floor_are_waited_for_by_their_own_ledger() -> None:
    assert waits(state_of(VALUE, ledger=LABELLED)) == "values of v1: none yet"
    few = state_of(VALUE, values=LABELLED, value_coverage=(0.2, 0.9))
    assert waits(few) == "values: 20.0 % of v2's answers have one, 50.0 % are needed"
    late = state_of(VALUE, values=LABELLED, value_coverage=(0.9, 0.9), too_late=40)
    assert waits(late).startswith("values that come in time: 40 values of v2 came too late")
    floor = GateDraft(MetricKind.ACCURACY, segment="eu")
    assert waits(state_of(floor, ledger=LABELLED)) == "labels for callers in eu of v1: none yet"
    known = state_of(floor, floors={"eu": LABELLED}, floor_coverage={"eu": (0.9, 0.2)})
    assert waits(known) == "labels for callers in eu: 20.0 % of v1's answers have one, 50.0 % are needed"


PAIRED = GateDraft(MetricKind.PAIRED_ACCURACY)


def mirrored(labelled: int, agreeing: int) -> Ledger:
    labels = Labels(labelled, agreeing=agreeing)
    return slices({(2, 90): SliceCounts(1_000, 1_000, labels, labels, 900)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ledger": Ledger().rest(0.0)}, "the end of the drift of the inputs"),
        ({"ledger": LABELLED}, "labels of mirrored rows: none yet"),
        ({"paired": mirrored(990, 891)}, "labels of mirrored rows to be 30 s old"),
        (
            {"paired": mirrored(990, 891), "paired_coverage": (0.4, 0.4)},
            "labels: those of 40.0 % of the mirrored rows met both answers, and of 50.0 % they are needed",
        ),
        (
            {"paired": mirrored(600, 590), "paired_coverage": (0.6, 0.6)},
            (
                "labels that come alike whether the versions agree or differ: as they have come, a version may "
                "seem worse or better by 10.12 points, and half of 0.5 points is allowed"
            ),
        ),
        ({"paired": mirrored(1_000, 900), "paired_coverage": (0.5, 0.5)}, "labelled mirrored rows of v2: none yet"),
    ],
)
def test_labels_of_mirrored_rows_are_waited_for(changes: dict[str, object], said: str) -> None:
    assert waits(replace(state_of(PAIRED), **changes)) == said  # type: ignore[arg-type] # fields by name


def test_in_a_new_lane_labels_of_mirrored_rows_may_be_late_too() -> None:
    state = state_of(PAIRED, min_age=None, paired=mirrored(1_000, 900), paired_coverage=(1.0, 1.0))
    assert waits(state).startswith("labels that may be late: ")


def test_pairs_that_were_judged_need_nothing_to_be_usual() -> None:
    state = state_of(PAIRED, paired=mirrored(1_000, 900), paired_coverage=(1.0, 1.0))
    gate = state.gates[1]
    assert isinstance(gate, PairedGate)
    judged = gate.judge_harm([(Labels(10, 1, alone=1), Labels(10, 1, alone=1))])
    assert waits(state, judged) == "more labelled mirrored rows of v2"


def by_key(taken: int, used: int = COHORTS) -> CohortGate:
    state = state_of(ACCURACY, sticky=True)
    gate = state.gates[0]
    assert isinstance(gate, CohortGate)
    many = np.where(np.arange(COHORTS) < used, 100.0, 0.0)
    counted = CohortCounts(many, many / 10, many, many / 10)
    return replace(gate.add(counted, counted), schedule=Schedule(taken))


def test_by_key_keys_and_looks_are_waited_for() -> None:
    state = replace(state_of(ACCURACY, sticky=True), judged_seconds=0.0)
    assert waits(state, by_key(0, 5)) == "more keys of v2: they are of 5 cohorts, and 20 are needed"
    # A 64th of nine tenths of ten minutes, and twice that.
    assert waits(state, by_key(0)) == "its next look, in 9 s: by key there are few"
    assert waits(state, by_key(1)) == "its next look, in 17 s: by key there are few"
    assert waits(replace(state, judged_seconds=4.0), by_key(0)) == "its next look, in 5 s: by key there are few"
    assert waits(replace(state, judged_seconds=20.0), by_key(0)) == "its next look, in 1 s: by key there are few"
    assert waits(state, by_key(0), 9, 8.4) == "its next look, in 9 s: by key there are few"
    assert waits(state, by_key(0), 9, 90.0) == (
        "its look in 2 min, which should show it if keys go on coming as they do; the next is in 9 s"
    )
