"""Versions that begin to fail just before they would be promoted."""

from dataclasses import replace

import numpy as np

from evaluator.evidence.fold import fold_all
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.gates.recent_looks import NO_LOOKS, RecentLooks
from evaluator.statistics import rates
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Decision
from evaluator.window.labels import RateRow
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial

USUAL = Behaviour(errors=0.005)
HARM = 0.0005, 1.1
LOOKS = 60
"""Of a period."""


def rollout(late: int, until: int = 10_000, errors: float = 0.02) -> Trial:
    """A version that begins to fail so many looks before its only period ends, until it ends at a look."""
    gates = (GateDraft(MetricKind.ERRORS, required=True),)
    plan = demo_plan(1000, period=2.0 * LOOKS, min_duration=2.0 * LOOKS)
    made = trial(0, demo_terms(demo_policy(gates=gates), plan, features=0), test=USUAL, rate=2_000.0, labelled=0.0)
    made.fleet.stable = USUAL
    for number in range(LOOKS + 10):
        made.fleet.test = replace(USUAL, errors=errors) if LOOKS - late <= number < until else USUAL
        made.look()
        if made.outcome is not None:
            break
    return made


def at_the_end(made: Trial) -> Decision:
    """Of the first look after the period."""
    return next(one for one in made.decisions if one.at is not None and one.at.elapsed >= 2.0 * LOOKS)


def test_a_version_that_begins_to_fail_as_its_period_ends_is_rolled_back_soon_after() -> None:
    made = rollout(5)
    decision, held = made.outcome, at_the_end(made)
    assert decision is not None
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "errors"), decision.reason
    assert held.action is Action.NONE
    assert held.reason.startswith("v2 has passed, but ")
    assert held.reason.endswith("; it waits until errors has decided")
    # It was promoted then, as an older release concluded.
    number = made.decisions.index(held)
    assert held.at is not None
    state = fold_all(made.fleet.terms, made.looks[: number + 1])
    assert decide(state, replace(held.at, rules=6)).action is Action.PROMOTE
    # And so it was where nothing but the period's end passed it.
    unproved = replace(state, gates=tuple(unproven(gate) for gate in state.gates))
    assert decide(unproved, replace(held.at, rules=6)).code == "NO_VIOLATION"
    assert decide(unproved, held.at).reason == held.reason
    # Where a person is to agree it waits for as long as he takes.
    later = replace(held.at, elapsed=1_000.0)
    ended = decide(state, later)
    assert ended.code == "NOT_SAFE"
    assert ended.reason.startswith("the period ended, and v2 has passed, but ")
    assert not ended.reason.endswith("has decided")
    assert decide(state, replace(later, approval_missing=True)).action is Action.NONE


def unproven(gate: GateState) -> GateState:
    assert isinstance(gate, RateGate)
    return replace(gate, safe=rates.restart(gate.safe), needs=1.0)


def test_a_version_that_fails_no_more_goes_on_when_its_latest_looks_say_so() -> None:
    made = rollout(12, until=LOOKS - 1, errors=0.015)
    decision, held = made.outcome, at_the_end(made)
    assert held.reason.endswith("it waits until errors has decided"), held.reason
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason


def looks(*bad: int, rate: float = 0.005, seed: int = 0) -> RecentLooks:
    """The latest forty of a version that fails everything at some of them, and else at a rate."""
    random, found = np.random.default_rng(seed), NO_LOOKS
    for number in range(40):
        failed = 300 if number in bad else int(random.binomial(300, rate if number >= 32 else 0.005))
        row: RateRow = (300, failed, 5_700, int(random.binomial(5_700, 0.005)))
        found = found.plus([row])
    return found


def test_the_latest_looks_show_what_began_with_them() -> None:
    found = looks(rate=0.02).worse(*HARM)
    assert found is not None
    assert (found.n_test, found.n_stable) == (8 * 300, 8 * 5_700)
    assert found.x_test > 30


def test_two_looks_alone_hold_nobody_up_and_three_do() -> None:
    """A process that was started again fails what it was asked meanwhile."""
    assert looks(36, 38).worse(*HARM) is None
    assert looks(34, 36, 38).worse(*HARM) is not None


def test_versions_alike_are_hardly_ever_held_up() -> None:
    assert sum(looks(seed=seed).worse(*HARM) is not None for seed in range(200)) <= 2


def test_looks_without_the_version_are_none_and_few_show_nothing() -> None:
    assert NO_LOOKS.plus([(0, 0, 500, 3)]) is NO_LOOKS
    assert NO_LOOKS.plus([(300, 300, 5_700, 28)] * 7).worse(*HARM) is None
