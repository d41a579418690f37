"""Evidence as a fold over recorded windows: the same windows give the same state, bit for bit."""

import pytest

from evaluator.evidence.fold import fold, fold_all
from evaluator.evidence.lateness import NO_LAGS
from evaluator.evidence.state import Look, State, start
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.statistics.process import look_cap
from evaluator.verdict.decision import Phase
from evaluator.window.counts import Series
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Plan, Step
from services.common.telemetry.bounds import LAG_BOUNDS
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms, trial
from tests.unit.evaluator.counted import attempt, series, window


def evidence(state: State) -> list[object]:
    """What a state says, every float to its last bit."""
    numbers: list[object] = [one for gate in state.gates for one in gate_evidence(gate)]
    for arm in (state.inputs.test, state.inputs.stable):
        numbers += [float(arm.test.log_e).hex(), arm.counts.tobytes()] if arm else []
    taken = (state.ledger.young_taken, state.ledger.aged_taken, state.ledger.safe_taken)
    return [*numbers, dict(state.ledger.slices), *map(dict, taken)]


def gate_evidence(gate: GateState) -> list[object]:
    """What a gate says, every float to its last bit, and of how much."""
    numbers = [float(value).hex() for value in (gate.harm.log_e, gate.harm.max_log_e, gate.safe.log_e)]
    return [*numbers, gate.test_n, gate.step_n]


def test_folding_all_looks_at_once_gives_what_folding_them_one_by_one_gave() -> None:
    made = trial(3, demo_terms(plan=demo_plan(1000, 5000)))
    made.run(40)
    again = fold_all(made.fleet.terms, made.looks)
    assert evidence(again) == evidence(made.state)
    assert again.sequence == len(made.looks)


@pytest.mark.parametrize(
    ("elapsed", "unlooked"),
    [
        ((0.0, 0.0, 1.5, 3.5, 9.5), 0.0),
        # Nobody looked: at first, and in between; three intervals of 2 s pass for watched.
        ((178.0,), 172.0),
        ((0.0, 0.0, 178.0, 180.0, 240.0), 172.0 + 54.0),
        # By a clock that is two minutes ahead, and then by the Registry's.
        ((2.0, 124.0, 126.0, 8.0, 10.0), -2.0),
        # Two who take turns, one by a clock that is a hundred seconds ahead: the way back and forth is no time.
        ((2.0, 104.0, 6.0, 108.0, 10.0, 112.0), 96.0),
        # A pause is not in the step's time.
        ((10.0, 10.0, 10.0, 12.0), 4.0),
    ],
)
def test_of_a_long_time_between_two_looks_three_intervals_pass_for_watched(
    elapsed: tuple[float, ...], unlooked: float
) -> None:
    state = start(demo_terms())
    for number, seconds in enumerate(elapsed, 1):
        state = fold(state, Look(number, 2, 5.0, 0, judged=False, window=(), elapsed=seconds))
    assert state.unlooked == unlooked
    # The next step's time begins anew.
    assert fold(state, Look(state.sequence + 1, 3, 5.0, 1, judged=False, window=(), elapsed=1.0)).unlooked == 0.0


def test_what_is_not_judged_is_no_evidence_but_teaches_what_is_usual() -> None:
    state = start(demo_terms(features=0))
    bad = window(attempt("v2", "live", "INTERNAL", 500), attempt("v1", "live", "ok", 500))
    state = fold(state, Look(1, 2, 5.0, 0, judged=False, window=bad))
    gate = state.gates[0]
    assert isinstance(gate, RateGate)
    assert gate.harm.max_log_e == 0.0
    assert float(gate.harm.n_past) == 500.0
    assert gate.test_n == 0


def test_a_new_step_starts_safety_anew_and_keeps_harm() -> None:
    made = trial(1, demo_terms(plan=demo_plan(1000, 5000)), test=Behaviour(errors=0.004))
    while made.step == 0:
        made.look()
    before = made.state.gates[0]
    after = fold(
        made.state,
        Look(made.state.sequence + 1, made.fleet.epoch, made.fleet.slice_seconds, 1, judged=False, window=()),
    ).gates[0]
    assert before.safe.log_e >= 2.9
    assert after.safe.log_e == 0.0
    assert after.harm.log_e == before.harm.log_e
    assert after.harm.max_log_e == before.harm.max_log_e


@pytest.mark.parametrize(
    ("metric", "judge_young", "taken"),
    [
        (MetricKind.ACCURACY, False, False),
        (MetricKind.ACCURACY, True, True),
        (MetricKind.RECALL, False, True),
        (MetricKind.PRECISION, False, True),
        (MetricKind.F1, True, False),
    ],
)
def test_labels_of_a_young_slice_show_harm_where_one_class_is_judged(
    metric: MetricKind, judge_young: bool, taken: bool
) -> None:
    positive = "" if metric is MetricKind.ACCURACY else "3"
    gates = (GateDraft(metric, required=True, positive=positive),)
    terms = demo_terms(demo_policy(gates=gates, min_age=60.0, judge_young=judge_young), demo_plan(1000, period=120.0))
    made = trial(2, terms, lag=0.5, positives=0.5)
    made.run(10)
    gate = made.state.gates[0]
    assert isinstance(gate, RateGate)
    assert (gate.test_n > 100) is taken
    assert gate.step_n == 0
    assert gate.safe.log_e == 0.0


def test_what_may_not_be_young_shows_harm_when_it_is_old_enough_in_a_later_step_too() -> None:
    terms = demo_terms(demo_policy(min_age=20.0), demo_plan(1000, 2000, period=60.0))
    made = trial(2, terms, lag=0.5, test=Behaviour(wrong=0.1))
    made.run(6)
    made._enter(1)
    before = made.state.ledger.aged_taken
    made.run(12)
    epochs = {key[0] for key in made.state.ledger.aged_taken}
    assert not before
    assert {made.fleet.epoch - 1, made.fleet.epoch} >= epochs
    assert made.fleet.epoch - 1 in epochs


def test_a_drift_in_both_arms_rests_quality_and_restarts_safety() -> None:
    made = trial(4, demo_terms(plan=demo_plan(1000), features=8), test=Behaviour(wrong=0.1))
    made.run(8)
    made.fleet.shift, made.fleet.test.wrong, made.fleet.stable.wrong = 0.4, 0.5, 0.4
    while not made.state.resting:
        made.look()
    assert made.phase is Phase.PAUSED_BY_DRIFT
    gate = next(gate for gate in made.state.gates if gate.gate.name == "accuracy")
    for _ in range(5):
        made.look()
    rested = next(gate for gate in made.state.gates if gate.gate.name == "accuracy")
    assert rested.test_n == gate.test_n
    errors = made.state.gates[0]
    assert errors.test_n > 0
    made.fleet.shift, made.fleet.test.wrong, made.fleet.stable.wrong = 0.0, 0.1, 0.1
    while made.state.resting:
        made.look()
    assert all(gate.safe.log_e == 0.0 or gate.step_n for gate in made.state.gates)
    assert made.state.step_seconds <= 4.0


def test_what_a_harm_needs_to_show_is_frozen_once_it_is_known() -> None:
    made = trial(5)
    made.run(4)
    needs = [gate.needs for gate in made.state.gates]
    assert all(need is not None and 10 < need < 1e5 for need in needs)
    made.run(3)
    assert [gate.needs for gate in made.state.gates] == needs


def test_an_arm_without_requests_is_no_evidence() -> None:
    state = start(demo_terms(features=0))
    for number in range(1, 6):
        only_stable = window(attempt("v1", "live", "ok", 500), attempt("v1", "live", "INTERNAL", 50), at=100.0 + number)
        state = fold(state, Look(number, 2, 5.0, 0, judged=True, window=only_stable))
    assert state.gates[0].harm.max_log_e == 0.0
    assert state.gates[0].safe.log_e == 0.0
    assert state.judged == 5


@pytest.mark.parametrize("count", [0, 10**12])
def test_no_counts_and_very_many_leave_every_number_finite(count: int) -> None:
    state = start(demo_terms(features=0))
    for number in range(1, 5):
        found = window(
            attempt("v2", "live", "ok", count),
            attempt("v1", "live", "ok", count),
            attempt("v1", "live", "INTERNAL", count // 1000),
            at=100.0 + number,
        )
        state = fold(state, Look(number, 2, 5.0, 0, judged=True, window=found))
    gate = state.gates[0]
    assert abs(gate.harm.log_e) < float("inf")
    assert gate.harm.log_e == gate.harm.log_e
    assert gate.safe.log_e == gate.safe.log_e


def test_gates_that_are_not_of_a_metric_keep_their_evidence() -> None:
    made = trial(3, demo_terms(plan=demo_plan(1000), features=0))
    made.run(10)
    before, fleet = made.state, made.fleet
    found = window(
        attempt("v2", "live", "ok", 50, fleet.epoch), attempt("v1", "live", "ok", 500, fleet.epoch), at=fleet.now
    )
    after = fold(before, Look(before.sequence + 1, fleet.epoch, fleet.slice_seconds, 0, judged=True, window=found))
    assert after.judged == before.judged + 1
    errors, *others = zip(before.gates, after.gates, strict=True)
    assert errors[1].test_n == errors[0].test_n + 50
    for was, gate in others:
        assert was.test_n > 0
        assert was.harm.log_e != 0.0
        assert gate_evidence(gate) == gate_evidence(was)


def test_a_slice_is_as_old_as_the_labels_of_wrong_answers_take_however_few_they_are() -> None:
    def lags(seconds: float, correct: str, rows: int) -> Series:
        counts = [0] * len(NO_LAGS)
        counts[next(place for place, bound in enumerate(LAG_BOUNDS) if bound >= seconds)] = rows
        return series("crossfade.feedback.lag", *counts, version="v1", traffic="live", correct=correct)

    state = start(demo_terms(demo_policy(min_age=None), features=0))
    look = Look(1, 1, 300.0, 0, False, window(lags(20.0, "true", 10_000), lags(1_800.0, "false", 50)))
    assert fold(state, look).label_age >= 1_800.0
    few = Look(1, 1, 300.0, 0, False, window(lags(20.0, "true", 10_000), lags(1_800.0, "false", 10)))
    assert fold(state, few).label_age == 60.0


@pytest.mark.parametrize(
    ("metric", "periods", "agreeing"),
    [
        (MetricKind.ACCURACY, (240.0, 240.0), (1, 1)),
        (MetricKind.ACCURACY, (4.0, 240.0), (3, 1)),
        (MetricKind.ERRORS, (240.0, 240.0), (3, 3)),
    ],
)
def test_the_burst_guard_is_of_the_step(
    metric: MetricKind, periods: tuple[float, float], agreeing: tuple[int, int]
) -> None:
    gates = (GateDraft(metric, required=True),)
    plan = Plan(tuple(Step(500, 0.0, period) for period in periods))
    terms = demo_terms(demo_policy(gates=gates), plan, features=0)
    state = start(terms)
    for step, looks in enumerate(agreeing):
        state = fold(state, Look(step + 1, step, 300.0, step, judged=False, window=()))
        gate = state.gates[0]
        assert isinstance(gate, RateGate)
        assert gate.harm.cap == look_cap(gate.alpha, looks)


def test_labels_are_known_as_far_as_the_process_that_was_read_first() -> None:
    """A Worker read just now says nothing of the labels that a Router had when it was read 40 s ago."""
    terms = demo_terms(demo_policy(min_age=30.0, look_interval=30.0), features=0)
    state = fold(start(terms), Look(1, 1, 10.0, 0, False, window(at=1_000.0)))
    labels = {"segment": "", "slice": "1.101", "traffic": "live"}
    counted = (
        series("crossfade.prediction.count", 50, labels=("3",), version="v2", **labels),
        series("crossfade.prediction.count", 500, labels=("3",), version="v1", **labels),
        series("crossfade.feedback.count", 50, labels=("3",), version="v2", predicted="3", **labels),
        series("crossfade.feedback.count", 500, labels=("3",), version="v1", predicted="3", **labels),
    )

    def judged(router_read: float) -> int:
        processes = (*window(at=1_060.0, name="worker"), *window(*counted, at=router_read, name="router"))
        found = fold(state, Look(2, 1, 10.0, 0, True, processes)).gates[-1]
        assert isinstance(found, RateGate)
        return found.step_n

    assert judged(1_055.0) == 50
    assert judged(1_020.0) == 0
