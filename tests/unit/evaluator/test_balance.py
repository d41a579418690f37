"""Class balance: valid by exact enumeration, and what it makes of versions that answer some class more often."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from evaluator.gates.balance import BalanceGate
from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import class_rows
from evaluator.window.counts import InstanceCounts, Series
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Need
from tests.fakes.metrics import CLASSES, Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms, trial

GATE = Gate(
    "class_balance", MetricKind.CLASS_BALANCE, Need.ALWAYS, GateMargin(offset=0.02), GateMargin(offset=0.1), 1.0
)


def open_gate(past: tuple[int, ...] = (60, 140)) -> BalanceGate:
    return BalanceGate.open(GATE, 0.01, CLASSES).learn([((0, 0), past)])


@pytest.mark.parametrize("rates", [(0.3, 0.3), (0.32, 0.3), (0.28, 0.3), (0.05, 0.05), (0.97, 0.99)])
def test_harm_expects_no_more_than_one_within_its_margin(rates: tuple[float, float]) -> None:
    gate, (n_test, n_stable) = open_gate(), (5, 7)
    expected = 0.0
    for x_test, x_stable in itertools.product(range(n_test + 1), range(n_stable + 1)):
        row = ((x_test, n_test - x_test), (x_stable, n_stable - x_stable))
        chance = binom.pmf(x_test, n_test, rates[0]) * binom.pmf(x_stable, n_stable, rates[1])
        expected += chance * np.exp(gate.judge([row]).harm.log_e)
    assert expected <= 1.0 + 1e-9


@pytest.mark.parametrize("rates", [(0.4, 0.3), (0.2, 0.3), (0.45, 0.3)])
def test_safety_expects_no_more_than_one_beyond_its_margin(rates: tuple[float, float]) -> None:
    gate, (n_test, n_stable) = open_gate(), (5, 7)
    expected = 0.0
    for x_test, x_stable in itertools.product(range(n_test + 1), range(n_stable + 1)):
        row = ((x_test, n_test - x_test), (x_stable, n_stable - x_stable))
        chance = binom.pmf(x_test, n_test, rates[0]) * binom.pmf(x_stable, n_stable, rates[1])
        expected += chance * np.exp(gate.judge([row]).safe.log_e)
    assert expected <= 1.0 + 1e-9


def test_three_looks_have_to_agree() -> None:
    gate = open_gate()
    wild = [((1000, 0), (600, 1400))]
    once, twice = gate.judge(wild), gate.judge(wild).judge(wild)
    assert twice.harm.max_log_e < np.log(100) <= twice.judge(wild).harm.max_log_e
    assert once.harm.max_log_e < twice.harm.max_log_e


def test_it_says_which_class_has_moved() -> None:
    gate = BalanceGate.open(GATE, 0.01, ("a", "b", "c")).learn([((0, 0, 0), (100, 100, 100))])
    for _ in range(5):
        gate = gate.judge([((10, 60, 30), (100, 100, 100))])
    moved = gate.most_moved()
    assert moved.name == "b"
    assert moved.difference.estimate == pytest.approx(0.6 - 1 / 3, abs=1e-6)
    assert moved.difference.low > 0


def balanced(*, required: bool = True) -> Terms:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
        GateDraft(MetricKind.CLASS_BALANCE, required=required),
    )
    return demo_terms(demo_policy(gates=gates), demo_plan(1000, period=240.0), features=0)


def test_a_version_alike_is_promoted() -> None:
    for seed in range(3):
        decision = trial(seed, balanced(), positives=0.3).run(120)
        assert decision is not None, seed
        assert (decision.action, decision.code) == (Action.PROMOTE, "SAFE"), decision.reason


@pytest.mark.parametrize("test", [Behaviour(missed=0.5), Behaviour(wrong=0.2)])
def test_a_version_that_answers_a_class_less_or_more_often_is_rolled_back(test: Behaviour) -> None:
    for seed in range(3):
        decision = trial(seed, balanced(), test=test, positives=0.3).run(120)
        assert decision is not None, seed
        assert (decision.action, decision.gate) == (Action.ROLLBACK, "class_balance"), decision.reason
        assert decision.reason.startswith("v2 answered ")
        assert decision.reason.endswith("2 points more or less are allowed")


def test_answers_are_counted_by_process_and_epoch() -> None:
    def predictions(version: str, where: str, *counts: int) -> Series:
        attributes = {"model": "digits", "version": version, "traffic": "live", "segment": "", "slice": where}
        return Series("crossfade.prediction.count", tuple(sorted(attributes.items())), counts, labels=("3", "7"))

    window = (
        InstanceCounts("a", 1, (predictions("v1", "4.1", 5, 6), predictions("v2", "4.1", 1, 2))),
        InstanceCounts("b", 1, (predictions("v1", "3.9", 7, 8), predictions("v2", "3.9", 3, 4))),
    )
    assert class_rows(ArmCounts(window, balanced()), epoch=4) == [((1, 2), (5, 6))]
    assert class_rows(ArmCounts(window, balanced()), epoch=None) == [((0, 0), (5, 6)), ((0, 0), (7, 8))]
