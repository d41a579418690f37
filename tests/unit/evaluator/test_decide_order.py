"""Which rule of the decision comes first where several apply, and at which moment a time is over."""

from dataclasses import replace

import pytest

from evaluator.evidence.passing import Passing
from evaluator.evidence.state import State, start
from evaluator.gates.rates import RateGate
from evaluator.statistics.counts import frozen
from evaluator.statistics.process import log_threshold
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Decision, Phase
from evaluator.verdict.readiness import PATIENCE, Served, Serving, Worker
from evaluator.verdict.reports import Verdict
from evaluator.window.other_lanes import OtherLanes
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Limit
from tests.fakes.rollouts import DEMO_GATES, demo_plan, demo_policy, demo_terms, trial
from tests.unit.evaluator.circumstances import CONTROL, READY, STABLE

CRASHED = (Worker("w1", (STABLE, CONTROL, Served("v2", False, Serving.FAILED, "", "CRASHED"))),)
LOADING = (Worker("w1", (STABLE, CONTROL, Served("v2", False, Serving.LOADING))),)
BUSIER = OtherLanes(100.0, 100.0, {"eu": 4_000.0})
"""Another lane has the test version's process answer forty times as many requests."""


def at(elapsed: float = 10.0, workers: tuple[Worker, ...] = READY, holds: tuple[str, ...] = ()) -> Circumstances:
    return Circumstances(Phase.RUNNING, 1_000_100.0, elapsed, workers, holds)


@pytest.fixture(scope="module")
def young() -> State:
    """One step, and too little evidence yet."""
    made = trial(0, demo_terms(plan=demo_plan(1000)))
    made.run(3)
    return made.state


@pytest.fixture(scope="module")
def safe() -> State:
    """One step, and every gate has passed."""
    made = trial(0, demo_terms(plan=demo_plan(1000)))
    made.run(30)
    assert made.outcome is not None
    assert made.outcome.action is Action.PROMOTE
    return made.state


def test_a_version_that_cannot_be_served_fails_however_requests_were_split(young: State) -> None:
    broken = replace(young, split=replace(young.split, most=100.0))
    assert decide(broken, at()).code == "SPLIT_BROKEN"
    decision = decide(broken, at(workers=CRASHED))
    assert (decision.action, decision.code) == (Action.ROLLBACK, "CRASHED")


def test_a_rollout_that_nobody_has_looked_at_yet_has_waited_for_no_time() -> None:
    unseen = start(demo_terms())
    failed = Worker("w1", (Served("v2", False, Serving.FAILED, "no weights", "LOAD_FAILED"),))
    for workers in (LOADING, (failed, Worker("w2", ()))):
        decision = decide(unseen, Circumstances(Phase.WAITING, 1_000_000.0, 0.0, workers))
        assert decision.action is Action.NONE


def test_a_version_that_is_ready_nowhere_is_waited_for_until_the_time_is_over() -> None:
    for waited, action in ((PATIENCE - 1.0, Action.NONE), (PATIENCE, Action.CANCEL)):
        now = 1_000_000.0 + waited
        waiting = replace(start(demo_terms()), first_time=1_000_000.0, passing=Passing(now))
        assert decide(waiting, Circumstances(Phase.WAITING, now, 0.0, LOADING)).action is action


def test_too_little_evidence_ends_a_rollout_when_its_period_is_over(young: State) -> None:
    assert decide(young, at(59.9)).action is Action.NONE
    assert decide(young, at(60.0)).action is Action.CANCEL


@pytest.mark.parametrize(
    ("part", "elapsed", "action"),
    [
        # One look may bring a third of what is needed, and another two may follow.
        (0.34, 10.0, Action.NONE),
        (0.32, 10.0, Action.PROMOTE),
        # They may follow soon after the period, too; what stands for longer is too much to be promoted.
        (0.34, 64.9, Action.NONE),
        (0.34, 65.0, Action.CANCEL),
        (0.32, 65.0, Action.PROMOTE),
    ],
)
def test_harm_that_a_look_or_two_may_show_is_waited_for_until_a_while_after_the_period(
    safe: State, part: float, elapsed: float, action: Action
) -> None:
    gate = safe.gates[0]
    assert isinstance(gate, RateGate)
    standing = frozen(part * log_threshold(safe.terms.policy.gate_alpha(gate.gate)))
    harm = replace(gate.harm, process=replace(gate.harm.process, log_e=standing, max_log_e=standing))
    suspicious = replace(safe, gates=(replace(gate, harm=harm), *safe.gates[1:]))
    decision = decide(suspicious, at(elapsed))
    assert decision.action is action
    assert ("may be doing harm" in decision.reason) is (action is not Action.PROMOTE)
    if action is Action.CANCEL:
        assert decision.code == "NOT_SAFE"
        # What an older release concluded is replayed as it was.
        assert decide(suspicious, replace(at(elapsed), rules=6)).action is Action.PROMOTE


def test_what_rests_on_no_evidence_holds_nothing() -> None:
    assert Decision(Action.NONE, Verdict.CONTINUE, "").holds == ()


def test_a_hold_ends_no_rollout_whose_gates_have_all_passed(safe: State, young: State) -> None:
    grace = 60.0 + safe.terms.policy.stale_after
    stale = ("metrics are stale",)
    assert decide(safe, at(10 * grace, holds=stale)).action is Action.NONE
    assert decide(young, at(grace - 1.0, holds=stale)).action is Action.NONE
    assert decide(young, at(grace, holds=stale)).action is Action.CANCEL


def test_processes_that_are_unlike_hold_up_only_a_gate_that_compares_them_and_has_not_passed(
    safe: State, young: State
) -> None:
    runtime = replace(young, others=BUSIER)
    assert decide(runtime, at()).reason.startswith("waits: runtimes cannot be compared: ")
    assert decide(runtime, at(59.0)).action is Action.NONE
    assert decide(runtime, at(60.0)).action is Action.CANCEL
    # Runtimes have passed, and errors have not.
    errors = replace(safe, others=BUSIER, gates=(young.gates[0], *safe.gates[1:]))
    assert decide(errors, at()).reason.startswith("waits for about ")
    # Nothing is compared with a number but the version itself.
    limit = GateDraft(MetricKind.RUNTIME, required=True, limit=Limit(seconds=0.02))
    made = trial(0, demo_terms(demo_policy(gates=(DEMO_GATES[0], limit)), demo_plan(1000)))
    made.run(1)
    assert decide(replace(made.state, others=BUSIER), at()).reason.startswith("waits for ")
