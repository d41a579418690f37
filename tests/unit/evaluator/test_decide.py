"""Every rule of the decision, each by a state that calls for it."""

from dataclasses import replace

import pytest

from evaluator.evidence.state import State, start
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.statistics.counts import frozen
from evaluator.statistics.rates import RateTest
from evaluator.verdict.decide import decide, find_violation
from evaluator.verdict.decision import Action, Circumstances, Decision, Phase
from evaluator.verdict.readiness import Served, Serving, Worker
from evaluator.verdict.reports import Evidence, Verdict, report_gates
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Meaning, PeriodEnd
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import DEMO_GATES, Trial, demo_plan, demo_policy, demo_terms, trial

STABLE, CONTROL = Served("v1", False, Serving.READY), Served("v1", True, Serving.READY)
READY = (Worker("w1", (STABLE, CONTROL, Served("v2", False, Serving.READY))),)


def at(phase: Phase = Phase.RUNNING, elapsed: float = 10.0, **more: object) -> Circumstances:
    return Circumstances(phase, 1_000_100.0, elapsed, **({"workers": READY} | more))  # type: ignore[arg-type] # fields by name


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
def young() -> State:
    """One step, and too little evidence yet."""
    made = trial(0, demo_terms(plan=demo_plan(1000)))
    made.run(3)
    return made.state


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


def with_period_end(state: State, end: PeriodEnd) -> State:
    return replace(state, terms=replace(state.terms, policy=replace(state.terms.policy, period_end=end)))


def with_needs(state: State, needs: float) -> State:
    return replace(state, gates=tuple(needing(gate, needs) for gate in state.gates))


def needing(gate: GateState, needs: float | None) -> GateState:
    assert isinstance(gate, RateGate | DistributionGate)
    return replace(gate, needs=needs)


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


def test_the_end_of_the_last_period_without_power_is_inconclusive(young: State) -> None:
    decision = decide(with_needs(young, 1e6), at(elapsed=61.0))
    assert (decision.action, decision.verdict) == (Action.CANCEL, Verdict.INCONCLUSIVE)
    assert decision.code == "TOO_LITTLE_EVIDENCE"
    assert "1,000,000 are needed to see a harm" in decision.reason


def test_the_end_of_the_last_period_without_power_holds_or_rolls_back_as_the_policy_asks(young: State) -> None:
    thin = with_needs(young, 1e6)
    held = decide(with_period_end(thin, PeriodEnd.HOLD), at(elapsed=61.0))
    assert (held.action, held.verdict) == (Action.NONE, Verdict.CONTINUE)
    assert held.reason.endswith("it goes on, as the policy asks")
    rolled = decide(with_period_end(thin, PeriodEnd.ROLLBACK), at(elapsed=61.0))
    assert (rolled.action, rolled.code) == (Action.ROLLBACK, "TOO_LITTLE_EVIDENCE")


@pytest.fixture(scope="module")
def labelled() -> State:
    """One step, mature labels, and too little evidence yet."""
    made = trial(0, demo_terms(plan=demo_plan(1000)))
    assert made.run(8) is None
    return made.state


def test_no_violation_in_a_period_with_power_promotes(labelled: State) -> None:
    decision = decide(with_needs(labelled, 10.0), at(elapsed=61.0))
    assert (decision.action, decision.code) == (Action.PROMOTE, "NO_VIOLATION")
    assert decision.reason.startswith("no gate was violated in 60 s, in which a harm would have shown: ")


def test_a_period_of_fewer_looks_than_must_agree_on_harm_promotes_nothing(labelled: State) -> None:
    hurried = replace(with_needs(labelled, 10.0), judged=2)
    decision = decide(hurried, at(elapsed=61.0))
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
    assert "after 2 looks that judged anything, and 3 have to agree on a harm" in decision.reason
    # As an older release concluded, whose look is replayed.
    assert decide(hurried, replace(at(elapsed=61.0), rules=0)).code == "NO_VIOLATION"


def test_margins_that_meet_are_to_be_changed_and_no_number_is_named() -> None:
    tight = GateDraft(MetricKind.ERRORS, required=True, harm=GateMargin(1.1, 0.01), safe=GateMargin(1.5, 0.01))
    made = trial(0, demo_terms(demo_policy(gates=(tight,), alpha_promote=1e-9), demo_plan(1000)), rate=20.0)
    decision = made.run(60)
    assert decision is not None
    assert decision.code == "TOO_LITTLE_EVIDENCE"
    assert decision.reason.endswith(
        "of v2 in this step, and its harm and safe margins (almost) meet, so that only proof passes it: make safe wider"
    )


def test_no_violation_goes_to_the_next_step_without_power_too(labelled: State) -> None:
    more = replace(labelled, terms=replace(labelled.terms, plan=demo_plan(1000, 5000)))
    decision = decide(with_needs(more, 1e6), at(elapsed=61.0))
    assert decision.action is Action.ADVANCE
    assert decision.reason.startswith("no gate was violated in 60 s: ")


def test_a_step_without_traffic_goes_nowhere_whatever_the_steps_before_have_seen() -> None:
    for shares in ((1000, 5000), (1000, 2000, 5000)):
        made = trial(0, demo_terms(plan=demo_plan(*shares, min_duration=55.0)))
        while made.step == 0:
            assert made.look().action is not Action.CANCEL
        made.fleet.rate = 0.0
        decision = made.run(60)
        assert decision is not None
        assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
        assert "errors has 0 attempts of v2 in this step" in decision.reason


def test_a_step_in_which_nothing_is_left_to_compare_with_shows_nothing() -> None:
    terms = demo_terms(demo_policy(gates=DEMO_GATES[:2]), demo_plan(1000, 5000, min_duration=55.0))
    made = trial(0, terms)
    while made.step == 0:
        assert made.look().action is not Action.CANCEL
    made.fleet.share = 10_000
    made.fleet.test = Behaviour(errors=0.9)
    decision = made.run(60)
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")


def test_what_is_needed_but_was_never_known_does_not_promote(young: State) -> None:
    unknown = replace(young, gates=tuple(needing(gate, None) for gate in young.gates))
    assert decide(unknown, at(elapsed=61.0)).action is Action.CANCEL


def test_a_stale_last_period_ends_only_after_a_grace(young: State) -> None:
    stale = ("metrics are stale",)
    assert decide(young, at(elapsed=61.0, holds=stale)).action is Action.NONE
    decision = decide(young, at(elapsed=61.0 + young.terms.policy.stale_after, holds=stale))
    assert (decision.action, decision.verdict) == (Action.CANCEL, Verdict.INCONCLUSIVE)
    assert decision.reason == "the period ended, and metrics are stale"


@pytest.mark.parametrize("holds", [(), ("metrics are stale",)])
@pytest.mark.parametrize("end", [PeriodEnd.INCONCLUSIVE, PeriodEnd.ROLLBACK])
def test_a_time_in_which_nobody_looked_ends_nothing(young: State, holds: tuple[str, ...], end: PeriodEnd) -> None:
    away = with_period_end(replace(with_needs(young, 1e6), unlooked=340.0), end)
    for elapsed in (390.0, 399.0):
        assert decide(away, at(elapsed=elapsed, holds=holds)).action is Action.NONE
    action = Action.CANCEL if end is PeriodEnd.INCONCLUSIVE else Action.ROLLBACK
    assert decide(away, at(elapsed=408.0, holds=holds)).action is action


def test_a_time_in_which_nobody_looked_does_not_show_that_nothing_was_violated(labelled: State) -> None:
    shown = with_needs(labelled, 10.0)
    assert decide(replace(shown, unlooked=50.0), at(elapsed=61.0)).action is Action.NONE
    assert decide(replace(shown, unlooked=50.0), at(elapsed=111.0)).action is Action.PROMOTE


def test_a_time_in_which_nobody_looked_is_no_part_of_the_steps_shortest_time(safe: State) -> None:
    longer = replace(safe, terms=replace(safe.terms, plan=demo_plan(1000, min_duration=30.0)), unlooked=50.0)
    decision = decide(longer, at(elapsed=70.0))
    assert (decision.action, decision.verdict) == (Action.NONE, Verdict.PASS)
    assert decision.reason == "v2 has passed and waits for the step's shortest time: 10 s more"


def test_no_data_never_goes_on() -> None:
    empty = start(demo_terms(plan=demo_plan(1000, 5000)))
    for step in (0, 1):
        for elapsed in (0.0, 61.0, 1e6):
            decision = decide(replace(empty, step=step, steps={}), at(elapsed=elapsed))
            assert decision.action in {Action.NONE, Action.CANCEL}


def test_without_labels_a_required_accuracy_waits(safe: State) -> None:
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


def served(*states: tuple[str, Serving, str]) -> tuple[Worker, ...]:
    """A Worker per state of v2, on each of which v1 is ready."""
    return tuple(
        Worker(name, (STABLE, Served("v2", False, state, "out of memory", code))) for name, state, code in states
    )


def failed(workers: tuple[Worker, ...], waited: float = 100.0) -> Decision:
    state = replace(start(demo_terms()), first_time=1_000_000.0)
    return decide(state, Circumstances(Phase.WAITING, 1_000_000.0 + waited, 0.0, workers))


def test_a_version_that_loads_nowhere_is_rolled_back() -> None:
    decision = failed(served(("a", Serving.FAILED, "LOAD_FAILED"), ("b", Serving.FAILED, "VERIFY_FAILED")))
    assert (decision.action, decision.verdict, decision.code) == (Action.ROLLBACK, Verdict.FAIL, "LOAD_FAILED")
    assert decision.reason == "v2 could not be loaded by any of the 2 Workers that tried: out of memory"


def test_a_version_that_one_worker_cannot_load_is_not_rolled_back_while_another_still_tries() -> None:
    decision = failed(served(("a", Serving.FAILED, "LOAD_FAILED"), ("b", Serving.LOADING, "")))
    assert decision.action is Action.NONE


def test_a_version_is_not_rolled_back_until_every_worker_was_heard_or_had_time_to_speak() -> None:
    workers = (*served(("a", Serving.FAILED, "LOAD_FAILED")), Worker("b", ()))
    assert failed(workers, waited=5.0).action is Action.NONE
    assert failed(workers, waited=31.0).action is Action.ROLLBACK


def test_a_version_that_crashed_where_stable_did_not_is_rolled_back_while_it_runs(young: State) -> None:
    workers = served(("a", Serving.FAILED, "CRASHED"), ("b", Serving.READY, ""))
    decision = decide(young, at(workers=workers))
    assert (decision.action, decision.code) == (Action.ROLLBACK, "CRASHED")
    assert "crashed twice while v1's did not" in decision.reason


def test_a_crash_that_stable_shares_is_not_blamed_on_the_version(young: State) -> None:
    shared = (Worker("a", tuple(Served(v, False, Serving.FAILED, "", "CRASHED") for v in ("v1", "v2"))),)
    assert decide(young, at(workers=shared)).action is Action.NONE


def test_a_crash_after_which_stable_was_started_again_is_not_blamed_on_the_version(young: State) -> None:
    again = Served("v1", False, Serving.READY, "its process crashed 2 times", "CRASHED")
    shared = (Worker("a", (again, CONTROL, Served("v2", False, Serving.FAILED, "", "CRASHED"))),)
    assert decide(young, at(workers=shared)).action is Action.NONE


def test_a_crash_where_stable_is_not_ready_either_is_not_blamed_on_the_version(young: State) -> None:
    # What failed to load there is tried again from time to time, and says nothing of its failure meanwhile.
    trying = Served("v1", False, Serving.LOADING)
    shared = (Worker("a", (trying, Served("v2", False, Serving.FAILED, "", "CRASHED"))),)
    assert decide(young, at(workers=shared)).action is Action.NONE


def test_a_source_that_cannot_be_reached_is_waited_for_and_named() -> None:
    waiting = (Worker("a", (STABLE, Served("v2", False, Serving.LOADING, "s3://m/model.json does not exist"))),)
    assert failed(waiting, waited=899.0).reason.endswith("verified and warm: s3://m/model.json does not exist")
    decision = failed(waiting, waited=901.0)
    assert (decision.action, decision.code) == (Action.CANCEL, "NOT_READY")
    assert decision.reason == "v2 was ready on no Worker within 15 min: s3://m/model.json does not exist"


def test_a_version_that_is_ready_nowhere_ends_inconclusive_in_time() -> None:
    loading = served(("a", Serving.LOADING, ""))
    assert failed(loading, waited=899.0).action is Action.NONE
    decision = failed(loading, waited=901.0)
    assert (decision.action, decision.verdict, decision.code) == (Action.CANCEL, Verdict.INCONCLUSIVE, "NOT_READY")
    ready = failed(served(("a", Serving.READY, "")), waited=901.0)
    assert ready.action is Action.NONE
    assert ready.reason == "v2 is ready; waits until v1 carries all of the traffic and has a control process beside it"


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
