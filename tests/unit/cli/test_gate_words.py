"""What is said of a gate: its sentence, its difference, its allowance."""

import pytest
from google.protobuf.duration_pb2 import Duration

from crossfade.cli.render.explain import explain
from crossfade.cli.render.gate_words import DEFAULT_HARM, allowance, arms_sentence, difference, metric_of
from crossfade.cli.render.gates import difference_text, gates_table
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.common.v1.analysis_pb2 import ArmCounts, GateReport
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_HARM as EVALUATOR_HARM
from tests.unit.cli import samples


def test_the_allowance_follows_the_policy() -> None:
    gates = [policy.Gate(metric=policy.METRIC_ACCURACY, harm=policy.Margin(factor=1, offset=0.03))]
    gate = samples.rolled_back().outcome.summary.gates[2]
    assert allowance(policy.Policy(gates=gates), gate, policy.METRIC_ACCURACY) == "−3 points"
    assert allowance(policy.Policy(), gate, policy.METRIC_RUNTIME) == "+9 %"


@pytest.mark.parametrize("metric", [MetricKind.ERRORS, MetricKind.RUNTIME, MetricKind.ACCURACY])
def test_the_default_margins_are_those_of_the_evaluator(metric: MetricKind) -> None:
    mine = DEFAULT_HARM[policy.Metric.Value(f"METRIC_{metric.upper()}")]
    theirs = EVALUATOR_HARM[metric]
    assert (mine.factor or 1, mine.offset, mine.buckets) == (theirs.factor, theirs.offset, theirs.buckets)


@pytest.mark.parametrize(
    ("metric", "sentence", "shown"),
    [
        (policy.METRIC_PRECISION, "82.5 % of v2's 487 answers spam were right, 91.8 % of v1's 9,602", "−9.3"),
        (policy.METRIC_RECALL, "v2 found 82.5 % of 487 rows that are spam, v1 91.8 % of 9,602", "−9.3"),
        (policy.METRIC_FALSE_POSITIVE_RATE, "v2 took 17.50 % of 487 other rows for spam, v1 8.20 % of 9,602", "+9.30"),
        (policy.METRIC_CLASS_BALANCE, "v2 answered spam for 17.5 % of 487 rows, v1 for 8.2 % of 9,602", "+9.30"),
        (policy.METRIC_F1, "v2's F1 for spam was 0.825 (487 rows), v1's 0.918 (9,602)", "−9.3"),
        (policy.METRIC_ABSOLUTE_ERROR, "v2 was off by 0.175 at the median of 487 labels, v1 by 0.082 of 9,602", "+9"),
    ],
)
def test_what_gates_of_one_class_say(metric: policy.Metric.ValueType, sentence: str, shown: str) -> None:
    gate = GateReport(
        gate="quality",
        metric=metric,
        positive_class="spam",
        test=ArmCounts(n=487, estimate=0.175),
        baseline=ArmCounts(n=9602, estimate=0.082),
        difference=0.093,
        low=0.047,
        high=0.138,
    )
    assert metric_of(policy.Policy(), gate) == metric
    assert arms_sentence("v2", "v1", gate, metric) == sentence
    found = difference(gate, metric)
    assert found is not None
    assert found.middle == shown
    assert allowance(policy.Policy(), gate, metric).endswith((" points", "+9 %"))


@pytest.mark.parametrize(
    ("metric", "limit", "sentence", "shown", "allowed"),
    [
        (
            policy.METRIC_RECALL,
            policy.Limit(at_least=0.9),
            "v2 found 82.5 % of 487 rows that are spam, v1 91.8 % of 9,602",
            "−7.5 (−12.0 … −2.0) pt of ≥ 90 %",
            "≥ 90 %",
        ),
        (
            policy.METRIC_RUNTIME,
            policy.Limit(duration=Duration(nanos=20_000_000)),
            "v2: its batches took a mean of 175 ms (487 batches); v1: 82.0 ms (9,602)",
            "+8 % (+2 … +12) % of ≤ 20 ms",
            "≤ 20 ms",
        ),
        (
            policy.METRIC_RUNTIME,
            policy.Limit(duration=Duration(nanos=50_000_000), quantile=0.99),
            "v2: 99 % of its batches took at most 175 ms (487 batches); v1: 82.0 ms (9,602)",
            "+8 % (+2 … +12) % of ≤ 50 ms for 99 %",
            "≤ 50 ms for 99 %",
        ),
        (
            policy.METRIC_ERRORS,
            policy.Limit(at_most=0.01),
            "v2 failed 17.50 % of 487 attempts, v1 8.20 % of 9,602",
            "+7.50 (+2.00 … +12.00) pt of ≤ 1 %",
            "≤ 1 %",
        ),
    ],
)
def test_what_gates_with_a_limit_say(
    metric: policy.Metric.ValueType, limit: policy.Limit, sentence: str, shown: str, allowed: str
) -> None:
    gate = GateReport(
        gate="quality",
        metric=metric,
        positive_class="spam",
        test=ArmCounts(n=487, estimate=0.175),
        baseline=ArmCounts(n=9602, estimate=0.082),
        difference=0.075,
        low=0.02,
        high=0.12,
        limit=limit,
    )
    assert arms_sentence("v2", "v1", gate, metric) == sentence
    assert allowance(policy.Policy(), gate, metric) == allowed
    assert difference_text(gate, metric) == shown
    gate.ClearField("baseline")
    assert difference_text(gate, metric) == shown
    gate.ClearField("test")
    assert difference_text(gate, metric) == allowed


def test_a_rollback_by_a_limit_says_how_far_from_it() -> None:
    rollout = samples.rolled_back()
    deciding = next(gate for gate in rollout.outcome.summary.gates if gate.gate == rollout.outcome.gate)
    deciding.limit.at_least = 0.9
    told = explain("churn", rollout, None, samples.NOW)
    assert "The distance from the limit is " in told
    assert "; the gate allows ≥ 90 %." in told
    assert "A version that keeps to it would be rolled back wrongly in at most 1 of 100 rollouts." in told


def test_the_primary_gate_of_an_ab_test_is_better_and_not_safe() -> None:
    summary = samples.live_summary()
    summary.gates[1].primary = True
    lines = [str(line) for line in gates_table(summary, policy.Policy())]
    assert lines[2].rstrip().endswith("better")


def test_the_average_over_the_classes_follows_the_one_that_is_shown() -> None:
    gate = GateReport(test=ArmCounts(n=487, estimate=0.175), baseline=ArmCounts(n=9602, estimate=0.082))
    gate.positive_class = "spam"
    gate.averages.test, gate.averages.baseline = 0.9, 0.918
    assert arms_sentence("v2", "v1", gate, policy.METRIC_RECALL) == (
        "v2 found 82.5 % of 487 rows that are spam, v1 91.8 % of 9,602; averaged over the classes 90.0 % against 91.8 %"
    )
