"""What a look says of gates and inputs: verdicts, what is required, forecasts, and the features that moved."""

from dataclasses import replace

import pytest

from evaluator.evidence.inputs import Inputs
from evaluator.evidence.state import State
from evaluator.statistics.process import log_threshold
from evaluator.verdict.reports import (
    DriftReport,
    Evidence,
    GateReport,
    Verdict,
    drift_evidence,
    gets_labels,
    report_gates,
    report_inputs,
)
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Objective
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import DEMO_GATES, demo_plan, demo_policy, demo_terms, trial

LIMIT = GateDraft(MetricKind.RUNTIME, required=True, limit=Limit(seconds=0.1, quantile=0.5))
BALANCE = GateDraft(MetricKind.CLASS_BALANCE)


@pytest.mark.parametrize(
    ("log_e", "bar", "enough"), [(2.9, 3.0, False), (3.0, 3.0, True), (0.7, 0.69, True), (0.5, 0.0, False)]
)
def test_evidence_is_enough_at_its_bar_and_never_without_one(log_e: float, bar: float, enough: bool) -> None:
    assert Evidence(log_e, bar).enough is enough


@pytest.fixture(scope="module")
def state() -> State:
    """Some looks of a rollout whose inputs drift in the test arm more than in stable's."""
    gates = (*DEMO_GATES, LIMIT, BALANCE)
    made = trial(0, demo_terms(demo_policy(gates=gates), demo_plan(1000), features=8))
    made.run(2)
    made.fleet.shift, made.fleet.test_shift = 0.02, 0.3
    made.run(2)
    return made.state


def reports(state: State, *, control_missing: bool = False) -> dict[str, GateReport]:
    return {report.gate: report for report in report_gates(state, control_missing=control_missing)}


def test_a_gate_reports_the_evidence_against_the_bars_of_its_own_error(state: State) -> None:
    for gate, report in zip(state.gates, reports(state).values(), strict=True):
        assert report.harm == Evidence(gate.harm.max_log_e, log_threshold(0.01 * gate.gate.share))
        assert report.safe == Evidence(gate.safe.log_e, log_threshold(0.05))


def test_what_is_needed_is_foreseen_at_the_pace_of_the_step_for_gates_that_are_waited_for(state: State) -> None:
    found = reports(state)
    errors = found["errors"]
    assert errors.verdict is Verdict.CONTINUE
    assert errors.needed > 0
    pace = state.gates[0].step_n / state.step_seconds
    assert errors.needed_seconds == pytest.approx(errors.needed / pace)
    assert errors.waits_for
    # Nobody waits for what is watched only, and nothing for what has passed.
    watched = found["class_balance"]
    assert (watched.verdict, watched.required) == (Verdict.CONTINUE, False)
    assert (watched.needed, watched.needed_seconds) == (0, 0.0)
    assert watched.waits_for
    passed = found["runtime limit"]
    assert (passed.verdict, passed.required) == (Verdict.PASS, True)
    assert (passed.needed, passed.needed_seconds, passed.waits_for) == (0, 0.0, "")


def test_without_a_judged_second_the_time_is_unknown(state: State) -> None:
    errors = reports(replace(state, step_seconds=0.0))["errors"]
    assert errors.needed > 0
    assert errors.needed_seconds == 0.0


def test_without_a_control_process_only_what_compares_with_it_is_not_required(state: State) -> None:
    assert [name for name, one in reports(state).items() if one.required] == [
        "errors",
        "runtime",
        "accuracy",
        "runtime limit",
    ]
    missing = reports(state, control_missing=True)
    assert [name for name, one in missing.items() if one.required] == ["errors", "accuracy", "runtime limit"]


def test_a_runtime_that_must_be_better_is_required_though_nothing_can_show_it() -> None:
    gates = (DEMO_GATES[0], GateDraft(MetricKind.RUNTIME, primary=True, better=GateMargin(buckets=1)))
    policy = demo_policy(gates=gates, objective=Objective.SUPERIOR)
    made = trial(0, demo_terms(policy, demo_plan(1000), features=0))
    report = reports(made.state, control_missing=True)["runtime"]
    assert (report.required, report.primary) == (True, True)
    assert not reports(made.state)["errors"].primary


def test_by_key_the_forecast_is_of_the_looks_ahead() -> None:
    gates = (GateDraft(MetricKind.ERRORS, required=True), LIMIT)
    made = trial(0, demo_terms(demo_policy(gates=gates), demo_plan(1000), features=0, sticky=True))
    made.run(3)
    errors, limit = reports(made.state).values()
    assert errors.verdict is Verdict.CONTINUE
    assert (errors.needed, errors.needed_seconds) == (0, 0.0)
    # What is not counted by cohorts of keys is shown, and says nothing.
    assert (limit.verdict, limit.waits_for) == (Verdict.NONE, "")
    assert limit.test.n > 0


def test_labels_come_where_some_of_stables_were_counted(state: State) -> None:
    assert gets_labels(state)
    unlabelled = trial(0, demo_terms(plan=demo_plan(1000), features=0), labelled=0.0, test_labelled=0.9)
    unlabelled.run(4)
    assert unlabelled.state.ledger.labels()[0] > 0
    assert not gets_labels(unlabelled.state)


def test_the_class_that_moved_most_is_named_once_something_was_judged(state: State) -> None:
    assert reports(state)["class_balance"].positive in {"3", "7"}
    fresh = trial(0, demo_terms(demo_policy(gates=(*DEMO_GATES, BALANCE)), demo_plan(1000)))
    assert reports(fresh.state)["class_balance"].positive == ""


def test_of_the_features_the_five_that_moved_most_in_one_of_the_arms_are_said(state: State) -> None:
    test, stable = state.inputs.test, state.inputs.stable
    assert test is not None
    assert stable is not None
    found = report_inputs(state)
    shifts = dict(stable.shifts())
    for name, shift in test.shifts():
        shifts[name] = max(shift, shifts[name])
    largest = sorted(((-shift, name) for name, shift in shifts.items()))[:5]
    assert [(-one.shift, one.name) for one in found.features] == largest
    assert (found.test_rows, found.stable_rows) == (test.rows, stable.rows)
    assert found.test_rows != found.stable_rows
    assert (found.test, found.stable) == (drift_evidence(test), drift_evidence(stable))
    assert found.test.log_e == test.test.log_e != found.stable.log_e
    assert found.test.bar == log_threshold(test.test.reference.alpha)


def test_a_shift_that_is_larger_in_the_stable_arm_is_the_one_that_is_said(state: State) -> None:
    turned = replace(state, inputs=Inputs(state.inputs.stable, state.inputs.test))
    assert report_inputs(turned).features == report_inputs(state).features


def test_each_arm_drifts_by_itself_and_one_without_a_profile_has_no_evidence() -> None:
    made = trial(0, demo_terms(plan=demo_plan(1000), features=8), Behaviour())
    made.run(2)
    made.fleet.test_shift = 0.5
    while not report_inputs(made.state).test_drifted:
        made.look()
    assert not report_inputs(made.state).stable_drifted
    alone = replace(made.state, inputs=Inputs(made.state.inputs.test, None))
    found = report_inputs(alone)
    assert (found.test_drifted, found.stable_drifted) == (True, False)
    assert (found.stable_rows, found.stable) == (0, Evidence())
    assert len(found.features) == 5
    other = report_inputs(replace(made.state, inputs=Inputs(None, made.state.inputs.test)))
    assert (other.test_drifted, other.stable_drifted, other.test_rows) == (False, True, 0)


def test_inputs_that_no_gate_watches_are_not_said() -> None:
    made = trial(0, demo_terms(demo_policy(gates=DEMO_GATES[:3]), demo_plan(1000), features=8))
    made.run(2)
    assert report_inputs(made.state).features == ()
    assert report_inputs(trial(0, demo_terms(features=0)).state) == DriftReport()
