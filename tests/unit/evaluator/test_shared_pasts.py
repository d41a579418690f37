"""Tests of runtimes that judge the same looks: they have one past, and each gives the numbers that it would alone."""

from dataclasses import replace

import numpy as np

from evaluator.evidence.window_looks import WindowRows, judge_window, learn_window
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.opening import open_gate
from evaluator.statistics import runtime
from evaluator.statistics.histograms import RuntimeWindows
from evaluator.statistics.runtime import RuntimeTest
from evaluator.window.arm_counts import ArmCounts
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from tests.fakes.rollouts import demo_policy, demo_terms, trial
from tests.unit.evaluator.runtimes import BUCKETS, RATIO, histogram, lognormal

TERMS = demo_terms(demo_policy(gates=(GateDraft(MetricKind.RUNTIME, required=True),)), features=0)


def opened() -> list[RuntimeTest]:
    harm = runtime.runtime_harm_test(BUCKETS, RATIO, 0.01)
    safe = runtime.runtime_non_inferiority_test(BUCKETS, RATIO)
    tail = runtime.runtime_tail_test(BUCKETS, RATIO, 2, 0.01)
    # The last one has judged something else, and has a past of its own.
    return [harm, replace(safe, past=harm.past), replace(tail, past=harm.past), tail]


def numbers(test: RuntimeTest) -> tuple[bytes, ...]:
    return tuple(one.tobytes() for one in (test.past.counts, test.process.log_wealth, test.process.max_log_e))


def test_they_go_on_with_one_past_and_each_with_its_own_numbers() -> None:
    random, tests, alone = np.random.default_rng(3), opened(), opened()
    learnt = [(size, histogram(lognormal()(random, 200))) for size in (1, 4)]
    tests, alone = runtime.seed_each(tests, learnt), [runtime.seed(one, learnt) for one in alone]
    for _ in range(20):
        rows = [
            (size, histogram(lognormal(1.1)(random, 20)), histogram(lognormal()(random, 25))) for size in (1, 4, 16, 1)
        ]
        windows = RuntimeWindows.of(BUCKETS, rows)
        tests, alone = runtime.update_each(tests, windows), [runtime.update(one, windows) for one in alone]
        assert [numbers(one) for one in tests] == [numbers(one) for one in alone]
        assert tests[0].past is tests[1].past is tests[2].past
        assert tests[3].past is not tests[0].past
    assert tests[0].process.looks == 20


def test_a_gates_tests_have_one_past_for_as_long_as_they_judge_the_same() -> None:
    gate = open_gate(TERMS.policy.gates[0], TERMS)
    made = trial(0, TERMS)
    for _ in range(8):
        made.look()
    assert isinstance(gate, DistributionGate)
    assert gate.tail is not None
    for look in made.looks:
        rows = WindowRows(ArmCounts(look.window, TERMS), look.epoch)
        gate = judge_window([gate], rows, resting=False)[0] if look.judged else learn_window(gate, rows)
        assert isinstance(gate, DistributionGate)
        assert gate.tail is not None
        assert gate.harm.past is gate.safe.past is gate.tail.past
    assert gate.test_n > 0
