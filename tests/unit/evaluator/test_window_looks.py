"""What of a window each gate takes: of its own metric, and while nothing keeps it from being judged."""

from dataclasses import replace

from evaluator.evidence.window_looks import WindowRows, judge_window, learn_window
from evaluator.gates.balance import BalanceGate
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import GateState, open_gate
from evaluator.gates.rates import RateGate
from evaluator.terms import Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import own_series
from evaluator.window.arms import BUCKETS
from evaluator.window.counts import Counts, InstanceCounts, Series
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Limit
from services.common.telemetry import catalog
from tests.fakes.metrics import CLASSES
from tests.fakes.rollouts import demo_policy, demo_terms

GATES = (
    GateDraft(MetricKind.ERRORS, required=True),
    GateDraft(MetricKind.ERRORS, segment="eu"),
    GateDraft(MetricKind.RUNTIME),
    GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=0.02)),
    GateDraft(MetricKind.CLASS_BALANCE),
    GateDraft(MetricKind.DISAGREEMENT, limit=Limit(at_most=0.1)),
    GateDraft(MetricKind.CUSTOM, bad_query="bad", total_query="all"),
    GateDraft(MetricKind.ACCURACY),
    GateDraft(MetricKind.ABSOLUTE_ERROR),
    GateDraft(MetricKind.VALUE),
)


def series(metric: catalog.Metric, *counts: int, **at: str) -> Series:
    return Series(metric.name, tuple(sorted({"segment": "", **at}.items())), counts)


def window() -> Counts:
    """A hundred attempts of v2 in epoch 2, and of all else other numbers."""
    found = []
    for version, traffic, epoch, times in (("v2", "live", "2", 1), ("v1", "live", "2", 9), ("v1", "live", "1", 100)):
        at = {"version": version, "traffic": traffic}
        found += [
            series(catalog.ATTEMPT_DURATION, 90 * times, outcome="ok", epoch=epoch, **at),
            series(catalog.ATTEMPT_DURATION, 10 * times, outcome="INTERNAL", epoch=epoch, **at),
            series(catalog.CALLER_ATTEMPT_COUNT, 20 * times, caller="eu", outcome="ok", epoch=epoch, **at),
            replace(series(catalog.PREDICTION_COUNT, 5 * times, 8 * times, slice=f"{epoch}.1", **at), labels=CLASSES),
        ]
    found += [own_series("custom", "v2", 40, 4), own_series("custom", "v1", 400, 4)]
    for version, traffic, batches in (("v2", "live", 7), ("v1", "control", 6)):
        counts = (*(0,) * 40, batches, *(0,) * (BUCKETS - 41))
        found.append(series(catalog.INFERENCE_DURATION, *counts, version=version, traffic=traffic, batch="1"))
    pairs = {"version": "v2", "traffic": "shadow", "stable": "3", "test": "3"}
    found.append(series(catalog.SHADOW_PAIR_COUNT, 30, **pairs))
    return (InstanceCounts("process-1", 1, tuple(found)),)


def opened(terms: Terms) -> dict[str, GateState]:
    gates = (open_gate(gate, terms) for gate in terms.policy.gates)
    return {gate.gate.name: gate for gate in gates if gate is not None}


TERMS = demo_terms(demo_policy(task="", gates=GATES), features=0)
JUDGED = {
    "errors": 100,
    "errors in eu": 20,
    "runtime": 7,
    "runtime limit": 7,
    "class_balance": 13,
    "disagreement limit": 30,
    "custom": 40,
    "accuracy": 0,
    "absolute_error": 0,
    "value": 0,
}


def judged(*, resting: bool = False, apart: bool = False) -> dict[str, int]:
    rows, gates = WindowRows(ArmCounts(window(), TERMS), 2), opened(TERMS)
    after = {name: judge_window([gate], rows, resting=resting, apart=apart)[0] for name, gate in gates.items()}
    for name in ("accuracy", "absolute_error", "value"):
        assert after[name] is gates[name]
    for gate in after.values():
        # What shows harm shows safety as well.
        assert gate.step_n == gate.test_n
    return {name: gate.test_n for name, gate in after.items()}


def test_each_gate_is_judged_by_what_its_metric_counts() -> None:
    assert judged() == JUDGED


def test_while_inputs_are_drifted_what_the_answers_say_is_not_judged() -> None:
    assert judged(resting=True) == {**JUDGED, "class_balance": 0, "disagreement limit": 0}


def test_processes_that_are_unlike_are_not_compared_and_held_against_a_number_all_the_same() -> None:
    assert judged(apart=True) == {**JUDGED, "runtime": 0}


def test_what_is_not_judged_teaches_what_is_usual_of_stable_in_whatever_split() -> None:
    rows, gates = WindowRows(ArmCounts(window(), TERMS), None), opened(TERMS)
    after = {name: learn_window(gate, rows) for name, gate in gates.items()}
    past = {}
    for name, gate in after.items():
        assert gate.test_n == gate.step_n == 0
        match gate:
            case RateGate():
                past[name] = float(gate.harm.n_past)
                assert float(gate.safe.n_past) == past[name]
            case BalanceGate():
                past[name] = float(gate.harm.n_past[0])
            case DistributionGate():
                past[name] = float(gate.harm.past.counts.sum())
            case RuntimeLimitGate():
                past[name] = float(gate.past.sum())
    assert past == {
        "errors": 10_900.0,
        "errors in eu": 20.0 * 109,
        "runtime": 6.0,
        "runtime limit": 6.0,
        "class_balance": 13.0 * 109,
        "disagreement limit": 0.0,
        "custom": 400.0,
        "accuracy": 0.0,
        "absolute_error": 0.0,
        "value": 0.0,
    }


def test_by_key_errors_are_taken_by_cohorts_and_labels_are_not_taken_of_a_window() -> None:
    terms = demo_terms(demo_policy(gates=(GATES[0], GATES[7], GATES[9])), features=0, sticky=True)
    at = {"version": "v2", "traffic": "live", "epoch": "2"}
    keyed = [series(catalog.COHORT_ATTEMPT, *(3,) * catalog.COHORTS, good=good, **at) for good in ("true", "false")]
    rows = WindowRows(ArmCounts((InstanceCounts("router-1", 1, tuple(keyed)),), terms), 2)
    for name, before in opened(terms).items():
        assert isinstance(before, CohortGate)
        gate = before.enter(2)
        after = judge_window([gate], rows, resting=False)[0]
        assert after.test_n == (6 * catalog.COHORTS if name == "errors" else 0)
        assert (after is gate) is (name != "errors")
        assert learn_window(gate, rows) is gate
