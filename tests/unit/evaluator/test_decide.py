"""Rules of the decision on what the gates show, each by a state that calls for it."""

from dataclasses import replace

import pytest

from evaluator.evidence.state import State, start
from evaluator.gates.rates import RateGate
from evaluator.statistics.counts import frozen
from evaluator.statistics.rates import RateTest
from evaluator.verdict.decide import decide, find_violation
from evaluator.verdict.decision import Action, Phase
from evaluator.verdict.readiness import Served, Serving, Worker
from evaluator.verdict.reports import Evidence, Verdict, report_gates
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial
from tests.unit.evaluator.circumstances import READY, STABLE, at


def passed(made: Trial) -> State:
    """The state of a rollout at the look that lets it go on."""
    while made.look().action not in {Action.ADVANCE, Action.PROMOTE}:
        assert made.outcome is None
    return made.state


@pytest.fixture(scope="module")
def safe() -> State:
    """One step, and every gate has passed."""
    return passed(trial(0, demo_terms(plan=demo_plan(1000))))


@pytest.fixture(scope="module")
def harmful() -> State:
    """The version fails too often."""
    made = trial(0, demo_terms(plan=demo_plan(1000)), test=Behaviour(errors=0.2))
    decision = made.run(20)
    assert decision is not None
    return made.state


@pytest.fixture(scope="module")
def drifted() -> State:
    """The inputs of both arms have drifted."""
    made = trial(0, demo_terms(plan=demo_plan(1000), features=8))
    made.run(2)
    made.fleet.shift = 0.5
    while not made.state.resting:
        made.look()
    return made.state


def test_all_required_gates_passed_promote_after_the_last_step(safe: State) -> None:
    decision = decide(safe, at())
    assert (decision.action, decision.verdict, decision.code) == (Action.PROMOTE, Verdict.PASS, "SAFE")
    assert decision.reason.startswith("v2 is no worse than v1: v2 failed 0.")
    assert "is allowed" in decision.reason


def test_a_promotion_waits_for_a_person_where_one_is_asked(safe: State, harmful: State) -> None:
    decision = decide(safe, at(approval_missing=True))
    assert (decision.action, decision.verdict, decision.code) == (Action.NONE, Verdict.PASS, "")
    assert decision.reason.startswith("v2 has passed (v2 is no worse than v1: ")
    assert decision.reason.endswith("and waits for a person to agree: crossfade approve digits")
    # Nobody is asked about harm.
    assert decide(harmful, at(approval_missing=True)).action is Action.ROLLBACK


def test_all_required_gates_passed_advance_before_the_last_step() -> None:
    made = trial(0, demo_terms(plan=demo_plan(1000, 5000)))
    while made.look().action is not Action.ADVANCE:
        assert made.outcome is None
    assert made.decisions[-1].code == "SAFE"


def test_a_step_lasts_its_shortest_time(safe: State) -> None:
    longer = replace(safe, terms=replace(safe.terms, plan=demo_plan(1000, min_duration=30.0)))
    decision = decide(longer, at(elapsed=20.0))
    assert (decision.action, decision.verdict) == (Action.NONE, Verdict.PASS)
    assert decision.reason == "v2 has passed and waits for the step's shortest time: 10 s more"
    assert decide(longer, at(elapsed=30.0)).action is Action.PROMOTE


def test_a_time_in_which_nobody_looked_is_no_part_of_the_steps_shortest_time(safe: State) -> None:
    longer = replace(safe, terms=replace(safe.terms, plan=demo_plan(1000, min_duration=30.0)), unlooked=50.0)
    decision = decide(longer, at(elapsed=70.0))
    assert (decision.action, decision.verdict) == (Action.NONE, Verdict.PASS)
    assert decision.reason == "v2 has passed and waits for the step's shortest time: 10 s more"


def test_a_hold_keeps_what_has_passed_from_going_on(safe: State) -> None:
    decision = decide(safe, at(holds=("metrics of 50 % of the processes are fresh",)))
    assert decision.action is Action.NONE
    assert "metrics of 50 %" in decision.reason
    assert decision.holds


def test_a_hold_does_not_keep_harm_from_rolling_back(harmful: State) -> None:
    decision = decide(harmful, at(holds=("metrics are stale",)))
    assert (decision.action, decision.gate, decision.code) == (Action.ROLLBACK, "errors", "VIOLATION")


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.PAUSED_BY_PERSON, Phase.PAUSED_BY_DRIFT])
def test_harm_rolls_back_at_any_time_and_says_the_numbers(harmful: State, phase: Phase) -> None:
    decision = decide(harmful, at(phase))
    assert (decision.action, decision.verdict) == (Action.ROLLBACK, Verdict.FAIL)
    assert decision.reason.startswith("v2 failed ")
    assert " attempts and v1 0." in decision.reason
    assert decision.reason.endswith("% is allowed")


def test_harm_that_was_reached_once_still_rolls_back(harmful: State) -> None:
    gate = harmful.gates[0]
    assert isinstance(gate, RateGate)
    calmer = replace(gate.harm, process=replace(gate.harm.process, log_e=frozen(0.0)))
    assert isinstance(calmer, RateTest)
    later = replace(harmful, gates=(replace(gate, harm=calmer), *harmful.gates[1:]))
    assert decide(later, at()).action is Action.ROLLBACK


def test_of_several_harms_the_one_furthest_beyond_its_bar_is_said(harmful: State) -> None:
    errors, other, *_ = report_gates(harmful, control_missing=False)
    # The greater evidence needs not be the one that is most of what was needed.
    errors = replace(errors, verdict=Verdict.FAIL, harm=Evidence(log_e=30.0, bar=20.0))
    other = replace(other, verdict=Verdict.FAIL, harm=Evidence(log_e=10.0, bar=5.0))
    for gates in ((errors, other), (other, errors)):
        found = find_violation(harmful, gates)
        assert found is not None
        assert found.gate == other.gate


def test_a_drift_in_both_arms_pauses(drifted: State) -> None:
    decision = decide(drifted, at())
    assert decision.action is Action.PAUSE
    assert decision.reason.startswith("inputs drifted in both arms (most: pixel_")
    assert "v2 is not blamed" in decision.reason
    assert decision.drift.test_drifted
    assert decision.drift.stable_drifted
    assert decide(drifted, at(Phase.PAUSED_BY_DRIFT)).action is Action.NONE


def test_the_end_of_the_drift_resumes_what_it_paused_and_nothing_else(young: State) -> None:
    assert decide(young, at(Phase.PAUSED_BY_DRIFT)).action is Action.RESUME
    decision = decide(young, at(Phase.PAUSED_BY_PERSON))
    assert (decision.action, decision.reason) == (Action.NONE, "paused by a person; harm is still judged")


def test_a_paused_rollout_does_not_go_on(safe: State) -> None:
    assert decide(safe, at(Phase.PAUSED_BY_PERSON, elapsed=1e6)).action is Action.NONE


def test_too_little_evidence_says_what_it_waits_for(young: State) -> None:
    decision = decide(young, at())
    assert (decision.action, decision.verdict) == (Action.NONE, Verdict.CONTINUE)
    assert decision.reason.startswith("waits for ")
    assert any(report.needed and report.needed_seconds for report in decision.gates)


def test_no_data_never_goes_on() -> None:
    empty = start(demo_terms(plan=demo_plan(1000, 5000)))
    for step in (0, 1):
        for elapsed in (0.0, 61.0, 1e6):
            decision = decide(replace(empty, step=step, steps={}), at(elapsed=elapsed))
            assert decision.action in {Action.NONE, Action.CANCEL}


def test_without_labels_a_required_accuracy_waits() -> None:
    made = trial(0, demo_terms(plan=demo_plan(1000)), labelled=0.0)
    made.run(20)
    decision = made.decisions[-1]
    assert decision.action is Action.NONE
    assert decision.reason == "waits for labels of v1: none yet"


def by_default(labelled: float) -> Trial:
    """A rollout by the default gates, but for the length of looks and margins."""
    policy, violations = complete_policy(
        PolicyDraft(look_interval=2.0, settling=2.0, min_age=1.0), Meaning("classification")
    )
    assert not violations
    return trial(0, demo_terms(policy, demo_plan(5000, period=600.0)), labelled=labelled)


def test_accuracy_is_required_by_default_where_the_lane_gets_labels() -> None:
    made = by_default(labelled=0.9)
    made.run(3)
    assert [report.required for report in made.decisions[-1].gates] == [True, True, True]
    made = by_default(labelled=0.0)
    made.run(3)
    assert [report.required for report in made.decisions[-1].gates] == [True, True, False]


def test_runtimes_are_watched_only_where_no_worker_can_run_the_control(safe: State) -> None:
    workers = (Worker("w1", (STABLE, Served("v1", True, Serving.FAILED), READY[0].served[2])),)
    reports = decide(safe, at(workers=workers)).gates
    assert [(report.gate, report.required) for report in reports] == [
        ("errors", True),
        ("runtime", False),
        ("accuracy", True),
    ]


def test_gates_by_request_decide_nothing_where_requests_are_assigned_by_key(harmful: State, safe: State) -> None:
    for state in (harmful, safe):
        sticky = replace(state, terms=replace(state.terms, sticky=True))
        decision = decide(sticky, at())
        assert decision.action is Action.NONE
        assert all(report.verdict is Verdict.NONE for report in decision.gates)
        ended = decide(sticky, at(elapsed=61.0))
        assert (ended.action, ended.verdict) == (Action.CANCEL, Verdict.INCONCLUSIVE)
        assert "assigned by key" in ended.reason


def test_a_gate_that_is_not_required_rolls_back_but_is_not_waited_for() -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True),
        GateDraft(MetricKind.RUNTIME, required=False),
    )
    terms = demo_terms(demo_policy(gates=gates), demo_plan(5000))
    decision = trial(1, terms, test=Behaviour(seconds=0.01)).run(30)
    assert decision is not None
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "runtime")
