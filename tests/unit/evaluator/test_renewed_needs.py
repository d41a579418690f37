"""What the last period's end asks for, where stable's rate or the share is another than at the rollout's start."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluator.gates.balance import BalanceGate
from evaluator.gates.distributions import DistributionGate, distribution_gate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.rates import RateGate, rate_gate
from evaluator.gates.step_counts import StepCounts
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need
from services.common.telemetry import catalog
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms
from tests.unit.evaluator.circumstances import at

ERRORS = (GateDraft(MetricKind.ERRORS, required=True),)
AT_THE_SAFE_MARGIN = Behaviour(errors=0.01)
"""1.5 times what stable fails, and a quarter of a point."""
USUAL = Behaviour(errors=0.005)


def ended(trial: Trial) -> Trial:
    assert trial.run(100) is not None
    return trial


def rollout(seed: int, rate: float, *shares: int, incident: float = 0.0) -> Trial:
    """A version that is worse by the whole safe margin; `incident`: what stable fails while it waits."""
    terms = demo_terms(demo_policy(gates=ERRORS), demo_plan(*shares), features=0)
    stable = replace(USUAL, errors=incident or USUAL.errors)
    fleet = Fleet(terms, np.random.default_rng(seed), rate=rate, test=AT_THE_SAFE_MARGIN, stable=stable)
    made = Trial.begin(fleet, waiting_looks=4)
    fleet.stable = USUAL
    return made


@pytest.mark.parametrize(
    ("rate", "shares", "incident", "seed"),
    [
        # 30 in 100 fail while it waits, and of so many few requests would show one that fails 45.
        (2_500.0, (500,), 0.3, 0),
        # A harm shows in fewer requests of the test version's where it has 5 % of them than where it has half.
        (560.0, (500, 5_000), 0.0, 1),
    ],
)
def test_a_version_worse_by_its_margin_is_not_promoted_by_what_the_start_seemed_to_take(
    rate: float, shares: tuple[int, ...], incident: float, seed: int
) -> None:
    made = ended(rollout(seed, rate, *shares, incident=incident))
    decision = made.outcome
    assert decision is not None
    assert decision.at is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason
    assert "are needed to see a harm as things are (" in decision.reason
    # What an older release concluded is replayed as it was.
    assert decide(made.state, replace(decision.at, rules=3)).code == "NO_VIOLATION"


def of(metric: MetricKind, **more: object) -> Gate:
    margins = GateMargin(offset=0.01), GateMargin(offset=0.05)
    return Gate(metric.value, metric, Need.ALWAYS, *margins, 1.0, **more)  # type: ignore[arg-type] # fields by name


def frozen(gate: Gate, past: tuple[int, int] = (4_000, 400)) -> RateGate:
    return rate_gate(gate, 0.01).learn([(0, 0, *past)]).freeze(0.01, 0.95, 0.1)


def both(gate: RateGate, *rows: tuple[int, int, int, int]) -> RateGate:
    return gate.judge_harm(rows).judge_safe(rows)


def test_what_is_needed_never_becomes_less() -> None:
    gate = frozen(of(MetricKind.ERRORS))
    easier = both(gate, (1_000, 1, 9_000, 9))
    assert easier.renew(0.01, 0.95).needs == gate.needs
    harder = both(gate, (1_000, 400, 9_000, 3_600))
    assert (harder.renew(0.01, 0.95).needs or 0.0) > 2.0 * (gate.needs or math.inf)


def test_what_is_needed_goes_by_the_steps_share_and_by_rows_that_are_alike() -> None:
    gate = frozen(of(MetricKind.ERRORS))
    halves = both(gate, (4_000, 400, 4_000, 400)).renew(0.01, 0.95)
    assert halves.needs == pytest.approx((frozen(of(MetricKind.ERRORS)).renew(0.01, 0.95).needs or 0.0) * 1.8, rel=0.1)
    alike = replace(both(gate, (400, 40, 3_600, 360)), effect=3.0).renew(0.01, 0.95)
    assert alike.needs == pytest.approx(3.0 * (gate.needs or 0.0), rel=0.05)
    # A step begins anew, and what nothing was compared with says nothing.
    assert halves.restart().step == StepCounts()
    assert both(gate, (0, 0, 4_000, 4_000)).renew(0.01, 0.95).needs == gate.needs


def test_what_no_number_shows_and_what_is_held_against_a_number_stay() -> None:
    rows = (1_000, 400, 9_000, 3_600)
    assert both(rate_gate(of(MetricKind.ERRORS), 0.01), rows).renew(0.01, 0.95).needs is None
    limited = frozen(of(MetricKind.ERRORS, limit=Limit(at_most=0.2)))
    assert both(limited, rows).renew(0.01, 0.95).needs == limited.needs
    better = frozen(of(MetricKind.ACCURACY, better=GateMargin(offset=0.0)))
    assert both(better, rows).renew(0.01, 0.95).needs == math.inf


def test_of_each_class_the_parts_are_renewed() -> None:
    gate = EachClassGate.open(of(MetricKind.RECALL, positive=EACH_CLASS), 0.01, ("3", "7"), 3)
    known = gate.each(lambda part: part.learn([(0, 0, 4_000, 400)])).freeze(0.01, 0.95, 0.1)
    after = known.each(lambda part: both(part, (4_000, 400, 4_000, 400))).renew(0.01, 0.95)
    assert all(
        (one.needs or 0.0) > 1.5 * (before.needs or math.inf)
        for one, before in zip(after.parts, known.parts, strict=True)
    )


def test_of_class_balance_it_goes_by_the_steps_share_too() -> None:
    gate = BalanceGate.open(of(MetricKind.CLASS_BALANCE), 0.01, ("3", "7"))
    known = gate.learn([((0, 0), (2_000, 2_000))]).freeze(0.01, 0.95, 0.1)
    assert known.renew(0.01, 0.95) is known
    after = known.judge([((2_000, 2_000), (2_000, 2_000))])
    assert (after.renew(0.01, 0.95).needs or 0.0) > 1.5 * (known.needs or math.inf)
    assert after.restart().step_stable == 0


def runtimes() -> DistributionGate:
    margins = GateMargin(buckets=1), GateMargin(buckets=2, offset=0.02)
    gate = Gate("runtime", MetricKind.RUNTIME, Need.ALWAYS, *margins, 1.0)
    opened = distribution_gate(gate, 0.01, catalog.INFERENCE_DURATION.bounds)
    return opened.learn([(1, (0,) * len(shape()), shape())]).freeze(0.01, 0.95, 0.1)


def shape(times: int = 1) -> tuple[int, ...]:
    counts = [0] * (len(catalog.INFERENCE_DURATION.bounds) + 1)
    counts[38:43] = [number * times for number in (40, 100, 160, 100, 40)]
    return tuple(counts)


def test_of_runtimes_it_goes_by_a_control_process_that_has_less_than_the_test_version() -> None:
    gate = runtimes()
    assert gate.renew(0.01, 0.95) is gate
    equal = gate.judge([(1, shape(), shape())]).renew(0.01, 0.95)
    assert equal.needs == pytest.approx(gate.needs, rel=0.05)
    fewer = gate.judge([(1, shape(9), shape())]).renew(0.01, 0.95)
    assert (fewer.needs or 0.0) > 2.0 * (gate.needs or math.inf)
    assert (fewer.median_needs or 0.0) > 2.0 * (gate.median_needs or math.inf)
    assert fewer.restart().step_control == 0


def test_a_conclusion_of_a_version_that_is_as_good_stays() -> None:
    made = rollout(0, 2_500.0, 500)
    made.fleet.test = USUAL
    decision = ended(made).outcome
    assert decision is not None
    assert decision.action is Action.PROMOTE
    assert decide(made.state, at(elapsed=61.0)).action is Action.PROMOTE
