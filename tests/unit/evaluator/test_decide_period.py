"""Rules of the decision at the end of a period."""

import math
from dataclasses import replace

import pytest

from evaluator.evidence.state import State
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.gates.step_counts import StepCounts
from evaluator.verdict import sentences
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action
from evaluator.verdict.reports import Verdict
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, PeriodEnd
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import DEMO_GATES, demo_plan, demo_policy, demo_terms, trial
from tests.unit.evaluator.circumstances import at


def with_period_end(state: State, end: PeriodEnd) -> State:
    return replace(state, terms=replace(state.terms, policy=replace(state.terms.policy, period_end=end)))


def with_needs(state: State, needs: float) -> State:
    return replace(state, gates=tuple(needing(gate, needs) for gate in state.gates))


def needing(gate: GateState, needs: float | None) -> GateState:
    # Nor does this step ask for more, of which nothing is known then.
    if isinstance(gate, RateGate):
        return replace(gate, needs=needs, step=StepCounts())
    assert isinstance(gate, DistributionGate)
    return replace(gate, needs=needs, step_control=0)


def test_the_end_of_the_last_period_without_power_is_inconclusive(young: State) -> None:
    decision = decide(with_needs(young, 1e6), at(elapsed=61.0))
    assert (decision.action, decision.verdict) == (Action.CANCEL, Verdict.INCONCLUSIVE)
    assert decision.code == "TOO_LITTLE_EVIDENCE"
    assert "1,000,000 are needed to see a harm" in decision.reason


@pytest.mark.parametrize(
    ("first", "need", "said"),
    [
        (1_909.0, math.inf, ", and no number is enough to see a harm as things are (1,909 as they were at the start)"),
        (1_909.0, 2_598.0, ", and 2,598 are needed to see a harm as things are (1,909 as they were at the start)"),
        (1_909.0, 1_910.0, ", and 1,910 are needed to see a harm"),
        (math.inf, math.inf, ""),
        (None, math.inf, ""),
    ],
)
def test_what_a_harm_takes_is_said_as_it_is_and_as_it_was(
    young: State, first: float | None, need: float, said: str
) -> None:
    gates = tuple(needing(gate, first) for gate in young.gates)
    report = decide(young, at(elapsed=61.0)).gates[0]
    reason = sentences.too_little(replace(young, gates=gates), [report], {report.gate: 5}, {report.gate: need})
    assert reason == f"the period ended with too little evidence: {report.gate} has 5 attempts of v2 in this step{said}"


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
