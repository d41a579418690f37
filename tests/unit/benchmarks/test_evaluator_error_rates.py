"""The benchmark of error rates: its many rollouts are the product's, its bounds are what they are called."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng

from benchmarks.evaluator_error_rates import keys, looks, plans, rollouts, run, runtimes, scenarios, winners
from benchmarks.evaluator_error_rates.behaviour import Behaviour, at_margin
from benchmarks.evaluator_error_rates.bounds import histogram_bound, rate_bound
from benchmarks.evaluator_error_rates.checks import every
from benchmarks.evaluator_error_rates.gates import CLASSES, METRICS, RATE_METRICS, bars, line, policy
from benchmarks.evaluator_error_rates.jobs import Job, blocks, run_all
from benchmarks.evaluator_error_rates.labels import STABLE, TEST, bad, slice_number
from benchmarks.evaluator_error_rates.other_effects import any_class
from benchmarks.evaluator_error_rates.rollouts import Counted, Rollouts
from benchmarks.evaluator_error_rates.scenarios import Scenario
from evaluator.evidence.fold import fold
from evaluator.evidence.state import State, start
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.maturity import ANY_GAP
from evaluator.gates.rates import rate_gate
from evaluator.statistics import confusion, rates
from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.confusion import Confusion
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.rates import RateWindows
from evaluator.terms import Terms
from evaluator.window.counts import Series
from services.common.policy.metrics import LABEL_METRICS, MetricKind
from services.common.policy.records import Gate, GateMargin, Need, Plan, Step

_COUNTS = {
    MetricKind.PRECISION: confusion.imprecision,
    MetricKind.RECALL: confusion.missed,
    MetricKind.FALSE_POSITIVE_RATE: confusion.false_alarms,
    MetricKind.F1: confusion.unlike,
}


def test_the_eight_gates_share_the_products_own_error() -> None:
    assert [bar.gate.metric for bar in bars().values()] == list(METRICS)
    assert sum(bar.alpha for bar in bars().values()) == pytest.approx(policy().alpha_rollback)
    assert bars()[MetricKind.ERRORS].alpha == pytest.approx(0.004)


@pytest.mark.parametrize("metric", list(_COUNTS))
def test_labels_are_counted_as_the_product_counts_them(metric: MetricKind) -> None:
    cells = np.array([7.0, 2.0, 5.0, 31.0])
    n, x = bad(metric, cells)
    assert (float(n), float(x)) == _COUNTS[metric](Confusion(7, 5, 2, 31))
    assert [float(part) for part in bad(MetricKind.ACCURACY, cells)] == [45.0, 7.0]


def rate(metric: MetricKind, of: Behaviour) -> float:
    tp, fp = float(of.true_positive), float(of.false_positive)
    fn = float(of.positives) * float(of.missed)
    match metric:
        case MetricKind.ERRORS:
            return float(of.errors)
        case MetricKind.CLASS_BALANCE:
            return tp + fp
        case _:
            n, x = bad(metric, np.array([tp, fn, fp, 1.0 - tp - fn - fp]))
            return float(x / n)


@pytest.mark.parametrize("metric", RATE_METRICS)
def test_a_version_at_a_margin_lies_on_the_gates_line(metric: MetricKind) -> None:
    stable = Behaviour()
    for margin in (bars()[metric].gate.harm, bars()[metric].gate.safe):
        worse = at_margin(metric, margin, rollouts.F1)(stable)
        edge = line(margin, metric, rollouts.F1)
        assert rate(metric, worse) == pytest.approx(edge.a + edge.b * rate(metric, stable))


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("scenario", [scenarios.INCIDENTS, scenarios.LATE, scenarios.LATE_FIRST])
def test_a_rollout_here_has_the_evidence_that_the_products_fold_gives_it(side: Side, scenario: Scenario) -> None:
    # Non-inferiority begins anew at each step in the product, and never here.
    scenario = scenario if side is Side.HARM else replace(scenario, make=scenarios.constant)
    metrics = tuple(metric for metric in RATE_METRICS if metric is not MetricKind.F1)
    # One at a time: of several, a look counts for the reserve where any of them has evidence.
    # Labels of the late scenarios are mature after 110 looks.
    looked = 140 if side is Side.NON_INFERIOR else 48
    many = Rollouts(scenario, side, metrics, default_rng(4), 1, looked)
    states = folded(many)
    for rollout, state in enumerate(states):
        for gate in state.gates:
            if gate.gate.metric not in metrics:
                continue
            mine = many.tests[gate.gate.metric].process
            if side is Side.HARM:
                expected, found = gate.harm.max_log_e, mine.max_log_e[rollout]
            else:
                expected, found = gate.safe.log_e, mine.log_e[rollout].min()
            assert found == pytest.approx(expected, abs=1e-9), gate.gate.name
            assert expected != 0.0 or side is Side.HARM, gate.gate.name


def folded(many: Rollouts) -> list[State]:
    """The product's states after the same counts."""
    plan = Plan((Step(),) * len(scenarios.RAMP))
    # Labels reach all answers alike here. Where chance has it seem otherwise, the product lets some wait.
    unasked = replace(policy(), labels=replace(policy().labels, max_coverage_gap=ANY_GAP))
    terms = Terms("m", "", looks.TEST, looks.STABLE, unasked, plan, declared=CLASSES)
    states = [start(terms) for _ in range(many.rollouts)]
    ledger = many.ledger
    assert ledger is not None
    labelled: dict[tuple[int, int], FloatArray] = {}
    lags = np.zeros(ledger.lags.shape)
    for sequence, number in enumerate(range(-scenarios.WAITING_LOOKS, many.looks), start=1):
        now, counted = many.look(number)
        new = {key: one.labelled - labelled.get(key, 0.0) for key, one in ledger.slices.items()}
        labelled = {key: one.labelled.copy() for key, one in ledger.slices.items()}
        later, lags = ledger.lags - lags, ledger.lags.copy()
        for rollout, state in enumerate(states):
            series = [
                instance_series(counted, instance, rollout, now.step, number)
                for instance in range(len(scenarios.INSTANCES))
            ]
            for place, of in ((TEST, looks.arm(1)), (STABLE, looks.arm(0))):
                for (step, slice_), cells in new.items():
                    series[0] += looks.feedback(of, step, slice_, cells[place, :, rollout])
                for correct, part in ((True, 0), (False, 1)):
                    series[0] += looks.lags(of, later[place, part, :, rollout], correct=correct)
            look = looks.look(number, now.step, judged=now.judged, sequence=sequence, series=series)
            states[rollout] = fold(state, look)
    return states


def instance_series(counted: Counted, instance: int, rollout: int, step: int, number: int) -> list[Series]:
    made: list[Series] = []
    for place, of in ((TEST, looks.arm(1)), (STABLE, looks.arm(0))):
        n, failed, positive = (
            int(part[place, instance, rollout]) for part in (counted.attempts, counted.failed, counted.positive)
        )
        made += looks.attempts(of, step, n, failed)
        made.append(looks.predictions(of, step, number, (n - failed - positive, positive)))
    return made


def test_a_gate_on_every_class_is_the_products() -> None:
    gate = replace(bars()[MetricKind.RECALL].gate, positive="*")
    product = EachClassGate.open(gate, 0.003, [str(number) for number in range(10)])
    many = rates.harm_test(Margin(0.005), 0.003, np.zeros((1, 10)), np.zeros((1, 10)))
    rng = default_rng(8)
    for look in range(12):
        wrong = [0.5 if k == 3 and look > 4 else 0.1 for k in range(10)]
        rows = [(5, int(rng.binomial(5, rate)), 95, int(rng.binomial(95, 0.1))) for rate in wrong]
        parts = tuple(part.judge_harm([row]) for part, row in zip(product.parts, rows, strict=True))
        product = replace(product, parts=parts).each(lambda part: part)
        table = np.array(rows, dtype=float).reshape(1, 1, 10, 4)
        many = rates.update(many, RateWindows(*(table[..., place] for place in range(4))))
        assert any_class(many)[0] == pytest.approx(product.harm.log_e, abs=1e-9)
    assert product.harm.log_e > 1.0


def test_what_comes_out_does_not_depend_on_the_processes() -> None:
    job = Job(("table", "row"), scenarios.INCIDENTS, Side.HARM, (MetricKind.RUNTIME,), 150, 3)
    assert [block.rollouts for block in blocks(job)] == [100, 50]
    alone, shared = (run_all([job], processes, lambda _: None)[job.group] for processes in (1, 2))
    assert alone[MetricKind.RUNTIME].shape == (150,)
    assert alone[MetricKind.RUNTIME].tolist() == shared[MetricKind.RUNTIME].tolist()


def test_bounds_are_those_of_the_design() -> None:
    assert rate_bound(0.01, 0.02, 0.005, Margin()) == pytest.approx(392, abs=1)
    assert rate_bound(0.01, 0.11, 0.08, Margin()) == pytest.approx(882, abs=1)
    assert rate_bound(0.01, 0.08, 0.08, Margin(0.005)) == math.inf
    usual, slower = runtimes.shape(), runtimes.shape(slower=math.log(1.1))
    # Two normal distributions a gap d apart: d^2/(8 s^2) in each arm.
    about = math.log(100) * 4 * 0.35**2 / math.log(1.1) ** 2
    assert histogram_bound(0.01, slower, usual) == pytest.approx(about, rel=0.02)


def test_the_products_values_are_the_oracles() -> None:
    for found in every.check(seed=3, cases=4):
        assert found.compared >= 30, found.kind
        assert found.difference <= 1e-9, found.kind
        assert 0.5 < found.expectation <= 1.0 + 1e-9, found.kind


def test_by_key_who_fails_everybody_is_found_and_who_is_alike_is_not() -> None:
    found = {(one.case.kind, one.case.metric, one.case.at): one for one in keys.measure(2, 1, lambda _: None)}
    failed = next(one for (kind, _, _), one in found.items() if kind == "fails everybody")
    assert failed.rolled_back == 1.0
    assert not any(one.rolled_back for (kind, _, _), one in found.items() if kind == keys.ALIKE)


def test_an_ab_test_here_is_the_products_gate() -> None:
    gate = Gate("errors", MetricKind.ERRORS, Need.ALWAYS, GateMargin(), GateMargin(), 1.0, better=GateMargin())
    product, mine = rate_gate(gate, 0.01).safe, winners.open_test(winners.GATE)
    assert (product.boost, product.agreement, product.margin) == (mine.boost, mine.agreement, mine.margin)
    assert product.process.log_wealth.tolist() == mine.process.log_wealth.tolist()
    plain, boosted = (winners.open_test(way) for way in (winners.PLAIN, winners.BOOSTED))
    assert (plain.boost, plain.agreement, boosted.boost, boosted.agreement) == (0.0, None, product.boost, None)


def test_who_is_better_wins_and_who_is_alike_seldom_does() -> None:
    found = {(one.case.name, one.way): one for one in winners.measure(4, 40, 1, lambda _: None)}
    assert all(one.requests <= 40 * 150 for one in found.values() if one.case.scenario is None)
    # After an hour's third bad look of stable's nothing tells a version alike from a better one.
    assert found[f"{winners.ALIKE}, .5 %, 3 bad looks of stable", winners.GATE].won > 0.0
    assert found[f"{winners.ALIKE}, .5 %, 0 bad looks of stable", winners.GATE].won == 0.0
    assert found["8 -> 5 %", winners.BOOSTED].requests <= found["8 -> 5 %", winners.PLAIN].requests


def test_a_rollout_by_keys_has_arms_that_differ() -> None:
    users = scenarios.draw_users(default_rng(0), 3)
    assert np.abs(users.test.errors - users.stable.errors).max() > 1e-3
    assert np.all(users.share > 0.01)


def test_slices_are_those_of_routing_time() -> None:
    assert [slice_number(look) for look in (-1, 0, 9, 10)] == [-1, 0, 0, 1]
    assert set(RATE_METRICS) > LABEL_METRICS - {MetricKind.ABSOLUTE_ERROR, MetricKind.VALUE}


@pytest.mark.timeout(300)
def test_it_prints_one_json_object_last(capsys: pytest.CaptureFixture[str]) -> None:
    run.main(["--quick", "--rollouts", "10", "--looks", "60", "--processes", "1"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"false_rollback", "false_promotion", "look_ms", "detection_ratio", "by_key_false_rollback"} <= set(figures)
    assert figures["oracle_greatest_difference"] <= 1e-9
    assert set(figures["false_alarms"]) == {*figures["detection_ratio"], *figures["false_alarms"]}
    assert figures["rollouts"]["alike"] == 10
    assert {"winners_requests", "winners_wrong", "winners_after_incidents"} <= set(figures)
    assert (figures["same_inputs_false_alarms"], figures["same_inputs_moved_found"]) == (0.0, 1.0)
    assert plans.Size(10, 60).at_margins == 2
