"""A gate on every class: harm to any, safe for all, and no class lost among the others."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from evaluator.gates.each_class import EachClassGate
from evaluator.gates.rates import RateGate
from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.verdict.reports import report_gates
from evaluator.window.labels import RateRow
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import Gate, GateMargin, Need
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms, trial

GATE = Gate("recall", MetricKind.RECALL, Need.ALWAYS, GateMargin(offset=0.01), GateMargin(offset=0.04), 1.0, EACH_CLASS)


def opened(classes: int = 2) -> EachClassGate:
    gate = EachClassGate.open(GATE, 0.01, [f"c{number}" for number in range(classes)])
    return gate.each(lambda part: part.learn([(0, 0, 400, 40)]))


def judged(gate: EachClassGate, rows: dict[str, RateRow]) -> EachClassGate:
    def judge(part: RateGate) -> RateGate:
        row = [rows[part.gate.positive]]
        return part.judge_harm(row).judge_safe(row)

    return gate.each(judge)


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.11, 0.1), (0.02, 0.1)])
def test_harm_expects_no_more_than_one_within_its_margin(rates: tuple[float, float]) -> None:
    """The same counts in both classes: they depend on one another as much as they can."""
    gate, (n_test, n_stable) = opened(), (6, 6)
    expected = 0.0
    for x_test, x_stable in itertools.product(range(n_test + 1), range(n_stable + 1)):
        row = (n_test, x_test, n_stable, x_stable)
        chance = binom.pmf(x_test, n_test, rates[0]) * binom.pmf(x_stable, n_stable, rates[1])
        expected += chance * math.exp(judged(gate, {"c0": row, "c1": row}).harm.log_e)
    assert expected <= 1.0 + 1e-9


def test_one_class_of_ten_that_is_lost_is_seen_and_named() -> None:
    gate = opened(10)
    rows = {f"c{number}": (100, 10, 400, 40) for number in range(10)} | {"c7": (100, 60, 400, 40)}
    for _ in range(5):
        gate = judged(gate, rows)
    assert gate.harm.max_log_e >= math.log(100)
    assert gate.shown.gate.positive == "c7"
    assert gate.safe.log_e < 0


def test_safety_waits_for_the_class_that_lacks_most_whatever_was_once_suspected() -> None:
    gate = judged(opened(), {"c0": (100, 20, 400, 40), "c1": (0, 0, 400, 40)})
    assert gate.harm.max_log_e > 0
    assert gate.shown.gate.positive == "c0"
    gate = judged(gate, {"c0": (3000, 250, 4000, 400), "c1": (0, 0, 400, 40)})
    assert gate.awaited.gate.positive == "c1"


def test_three_looks_have_to_agree() -> None:
    gate = opened()
    wild: dict[str, RateRow] = {"c0": (1000, 1000, 1000, 100), "c1": (1000, 1000, 1000, 100)}
    twice = judged(judged(gate, wild), wild)
    assert twice.harm.max_log_e < math.log(100) <= judged(twice, wild).harm.max_log_e


def test_the_class_that_lacks_most_says_what_is_needed() -> None:
    gate = opened()
    gate = judged(gate, {"c0": (300, 30, 400, 40), "c1": (20, 2, 400, 40)}).freeze(0.01, 0.95, 0.1)
    assert gate.step_n == 20
    assert gate.needs is not None
    assert gate.needs > 20
    alone = replace(gate, parts=gate.parts[:1]).restart()
    assert alone.step_n == 0


def every_class(metric: MetricKind) -> Terms:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
        GateDraft(
            metric, required=True, harm=GateMargin(offset=0.01), safe=GateMargin(offset=0.05), positive=EACH_CLASS
        ),
    )
    return demo_terms(demo_policy(gates=gates), demo_plan(1000, period=240.0), features=0)


@pytest.mark.parametrize("metric", [MetricKind.RECALL, MetricKind.F1])
def test_a_version_alike_in_every_class_is_promoted(metric: MetricKind) -> None:
    for seed in range(3):
        decision = trial(seed, every_class(metric), positives=0.4).run(120)
        assert decision is not None, seed
        assert (decision.action, decision.code) == (Action.PROMOTE, "SAFE"), decision.reason


@pytest.mark.parametrize(("test", "lost"), [(Behaviour(missed=0.3), "3"), (Behaviour(wrong=0.3), "7")])
def test_a_version_that_loses_one_class_is_rolled_back_for_it(test: Behaviour, lost: str) -> None:
    for seed in range(3):
        made = trial(seed, every_class(MetricKind.RECALL), test=test, positives=0.4)
        decision = made.run(120)
        assert decision is not None, seed
        assert (decision.action, decision.gate) == (Action.ROLLBACK, "recall"), decision.reason
        assert f"rows that are {lost} and v1" in decision.reason
        report = report_gates(made.state, control_missing=False)[1]
        assert report.positive == lost
        assert np.isfinite(report.low)


def test_the_average_over_the_classes_is_shown_and_hides_what_is_lost() -> None:
    gate = opened(10)
    assert all(math.isnan(one) for one in gate.averages())
    rows = {f"c{number}": (100, 10, 400, 40) for number in range(10)} | {"c7": (100, 60, 400, 40)}
    gate = judged(gate, rows)
    assert gate.averages() == pytest.approx((0.85, 0.9))
    f1 = EachClassGate.open(replace(GATE, metric=MetricKind.F1, harm=GateMargin(offset=0.01)), 0.01, ["a", "b"])
    f1 = f1.each(lambda part: part.knowing(400, 40))
    f1 = judged(f1, {"a": (100, 20, 400, 40), "b": (100, 10, 400, 40)})
    # F1 = 2J/(1+J) of J = 0.8 and 0.9.
    assert f1.averages()[0] == pytest.approx((1.6 / 1.8 + 1.8 / 1.9) / 2)


def test_a_period_without_a_class_says_which_it_was() -> None:
    gates = (GateDraft(MetricKind.RECALL, required=True, positive=EACH_CLASS),)
    made = trial(0, demo_terms(demo_policy(gates=gates), demo_plan(5000, period=60.0), features=0))
    made.run(60)
    assert made.outcome is not None
    # There are thousands of labels, and all are of the other class.
    assert "recall has 0 labels of v2 in this step that count for class 3" in made.outcome.reason
