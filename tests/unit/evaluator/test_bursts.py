"""Versions that fail for a while, are as good as stable for longer, and fail again."""

import re
from dataclasses import replace

import pytest

from evaluator.gates.distributions import distribution_gate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.rates import rate_gate
from evaluator.gates.step_counts import StepCounts
from evaluator.statistics.process import log_threshold
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action
from evaluator.verdict.reports import Verdict
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need
from services.common.telemetry import catalog
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial

USUAL = Behaviour(errors=0.005)


def bursts(seed: int, every: int, looks: int, *, cut: bool = False) -> Trial:
    """A version that fails everything at so many looks of each `every`, from the third on; `cut`: so that Routers'
    breakers keep its requests from it."""
    terms = demo_terms(
        demo_policy(gates=(GateDraft(MetricKind.ERRORS, required=True),)), demo_plan(1000, period=240.0), features=0
    )
    made = trial(seed, terms, test=USUAL, rate=1_200.0)
    made.fleet.stable = USUAL
    for number in range(140):
        failing = number >= 2 and (number - 2) % every < looks
        made.fleet.test = replace(USUAL, errors=1.0) if failing else USUAL
        made.fleet.cut = failing and cut
        made.look()
        if made.outcome is not None:
            return made
    raise AssertionError


@pytest.mark.parametrize("looks", [1, 2])
def test_bursts_that_come_again_and_again_are_a_harm(looks: int) -> None:
    """Each of them brings a third of the bar or two, which bets on fewer failures keep for a while."""
    decision = bursts(0, 20, looks).outcome
    assert decision is not None
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "errors"), decision.reason


def test_one_burst_hides_no_harm_that_goes_on() -> None:
    """A version that fails 2 % where stable fails .5 %, and everything at one look."""
    margins = GateMargin(1.1, 0.0005), GateMargin(1.5, 0.0025)
    gate = rate_gate(Gate("errors", MetricKind.ERRORS, Need.ALWAYS, *margins, 0.4), 0.004)
    gate = gate.learn([(0, 0, 2_000, 10)]).judge_harm([(150, 150, 150, 1)])
    looks = 1
    while gate.harm.max_log_e < log_threshold(0.004):
        gate, looks = gate.judge_harm([(150, 3, 150, 1)]), looks + 1
    # It took 51 of them where all wealth was left with what had won most by the burst.
    assert looks <= 12


def test_a_version_that_fails_in_bursts_is_not_promoted_for_want_of_three_looks_that_agree() -> None:
    """Of all that it was asked it fails 3 %, stable .5 %."""
    made = bursts(0, 40, 1)
    decision = made.outcome
    assert decision is not None
    assert decision.at is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "NOT_SAFE"), decision.reason
    assert "no 3 looks agreed on a harm, but in sum v2 is not safe: v2 failed " in decision.reason
    assert "is allowed" in decision.reason
    # What an older release concluded is replayed as it was.
    assert decide(made.state, replace(decision.at, rules=3)).code == "NO_VIOLATION"


@pytest.mark.parametrize("seed", range(3))
def test_what_breakers_keep_from_a_version_while_it_fails_is_in_the_sum(seed: int) -> None:
    """Of what came to it the version fails as much as stable; of what was drawn for it, a tenth more."""
    made = bursts(seed, 20, 2, cut=True)
    decision = made.outcome
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "NOT_SAFE"), decision.reason
    found = re.search(
        r"v2 failed 0\.\d+ % .* and by its probes v2 would have failed ([\d,]+) of \1 further requests, which Routers "
        r"kept from it while it failed; ",
        decision.reason,
    )
    assert found is not None, decision.reason
    assert 1_000 < int(found[1].replace(",", "")) <= 3_200


@pytest.mark.parametrize(("every", "looks"), [(20, 2), (30, 1)])
def test_a_version_that_is_slow_in_bursts_is_not_promoted_either(every: int, looks: int) -> None:
    """Of its batches one in ten takes ten times as long, all of them at two looks of twenty; or one in thirty."""
    terms = demo_terms(demo_policy(gates=(GateDraft(MetricKind.RUNTIME, required=True),)), demo_plan(1000), features=0)
    made = trial(0, replace(terms, plan=demo_plan(1000, period=240.0)), rate=600.0)
    for number in range(140):
        made.fleet.test = Behaviour(seconds=0.02 if 2 <= number % every < 2 + looks else 0.002)
        if made.look().action is not Action.NONE:
            break
    decision = made.outcome
    assert decision is not None
    assert decision.at is not None
    if looks > 1:
        assert (decision.action, decision.gate) == (Action.ROLLBACK, "runtime"), decision.reason
        return
    assert (decision.action, decision.code) == (Action.CANCEL, "NOT_SAFE"), decision.reason
    assert "in sum v2 is not safe: v2's batches took " in decision.reason
    # What an older release concluded of such evidence: it has passed between two bursts, or nothing was violated.
    assert decide(made.state, replace(decision.at, rules=3)).action is Action.PROMOTE


def test_what_has_passed_between_two_bursts_waits_while_it_is_not_safe_in_sum() -> None:
    terms = demo_terms(demo_policy(gates=(GateDraft(MetricKind.RUNTIME, required=True),)), features=0)
    made = trial(2, replace(terms, plan=demo_plan(1000, period=80.0)), rate=600.0)
    for number in range(60):
        made.fleet.test = Behaviour(seconds=0.02 if number >= 4 and (number - 4) % 10 == 0 else 0.002)
        if made.look().action is not Action.NONE:
            break
    waited = [one for one in made.decisions if one.reason.startswith("in sum v2 is not safe: v2's batches took ")]
    assert waited
    assert waited[0].at is not None
    assert all(gate.verdict is Verdict.PASS for gate in waited[0].gates)
    decision = made.outcome
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "NOT_SAFE"), decision.reason


def histogram(*buckets: int) -> tuple[int, ...]:
    counts = [0] * (len(catalog.INFERENCE_DURATION.bounds) + 1)
    for bucket in buckets:
        counts[bucket] += 100
    return tuple(counts)


@pytest.mark.parametrize(
    ("test", "unsafe"),
    [
        ((40,) * 100, False),
        # Slower by more than the margin of two buckets, and by as much.
        ((43,) * 100, True),
        ((42,) * 100, False),
        # Two points more of the batches may be among the slowest.
        ((40,) * 98 + (60,) * 2, False),
        ((40,) * 97 + (60,) * 3, True),
    ],
)
def test_of_runtimes_the_median_and_the_slowest_are_summed(test: tuple[int, ...], unsafe: bool) -> None:
    margins = GateMargin(buckets=1), GateMargin(buckets=2, offset=0.02)
    gate = Gate("runtime", MetricKind.RUNTIME, Need.ALWAYS, *margins, 1.0)
    opened = distribution_gate(gate, 0.01, catalog.INFERENCE_DURATION.bounds)
    assert not opened.unsafe
    # Control's batches of another size are none to compare with.
    rows = [(1, histogram(*test), histogram(*(40,) * 50)), (2, histogram(90), histogram())]
    assert opened.judge(rows).unsafe is unsafe


def test_in_sum_only_windows_are_compared() -> None:
    """Where the share rises while both fail more, the test arm has more of the bad time than stable."""
    calm, incident = (50, 0, 950, 0), (500, 100, 500, 100)
    counted = StepCounts().plus([calm, incident])
    assert counted.x_test / counted.n_test > 2.0 * counted.stable_rate
    assert not counted.is_beyond(0.001, 1.0)
    assert counted.plus([(500, 110, 500, 100)]).is_beyond(0.001, 1.0)
    assert counted.plus([(0, 0, 9_000, 0)]) == counted
    assert StepCounts().plus([(100, 3, 0, 0)]).exceeds(0.02)
    assert not StepCounts().plus([(100, 2, 0, 0)]).exceeds(0.02)
    assert not StepCounts().exceeds(0.02)


def test_of_each_class_one_that_is_not_safe_is_enough() -> None:
    margins = GateMargin(offset=0.005), GateMargin(offset=0.02)
    gate = Gate("recall", MetricKind.RECALL, Need.ALWAYS, *margins, 1.0, positive=EACH_CLASS)
    both = EachClassGate.open(gate, 0.01, ("3", "7"), 3)
    good, bad = [(1_000, 100, 9_000, 900)], [(1_000, 130, 9_000, 900)]
    assert not both.each(lambda part: part.judge_safe(good)).unsafe
    three, seven = both.parts
    assert both.having([three.judge_safe(good), seven.judge_safe(bad)]).unsafe
    assert not both.having([three.judge_safe(good), seven.judge_safe(bad).restart()]).unsafe


def test_what_is_held_against_a_number_may_be_beyond_it_by_as_much_as_has_to_show() -> None:
    margins = GateMargin(offset=0.005), GateMargin(offset=0.02)
    gate = Gate("wrong", MetricKind.ACCURACY, Need.ALWAYS, *margins, 1.0, limit=Limit(at_least=0.9))
    assert not rate_gate(gate, 0.01).judge_safe([(1_000, 119, 0, 0)]).unsafe
    assert rate_gate(gate, 0.01).judge_safe([(1_000, 121, 0, 0)]).unsafe
    # What must be better is held to evidence of that alone.
    better = Gate("wrong", MetricKind.ACCURACY, Need.ALWAYS, *margins, 1.0, better=GateMargin(offset=0.0))
    assert not rate_gate(better, 0.01).judge_safe([(1_000, 500, 9_000, 900)]).unsafe
