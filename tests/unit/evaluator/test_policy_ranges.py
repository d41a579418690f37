"""Where what policies and plans may say ends: what is just allowed, and what is just not."""

import math
from dataclasses import replace

import pytest

from crossfade.common.v1 import policy_pb2
from crossfade.name_checks import LABEL_LIMIT
from evaluator.gates.opening import open_gate
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.gates import with_primary
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Meaning, Need, Objective
from services.common.policy.sizes import (
    CLASSES_BYTES,
    GATES_LIMIT,
    NAME_LIMIT,
    STEPS_LIMIT,
    class_violations,
    harm_violations,
    size_violations,
)
from tests.fakes.rollouts import demo_terms

DAY = 86_400.0
YEAR = 366 * DAY
CHURN = Meaning("classification", ("stays", "churns"), "churns")
ERRORS = GateDraft(MetricKind.ERRORS, required=True)


def wrong(draft: PolicyDraft, meaning: Meaning = CHURN) -> list[str]:
    return [one.field for one in complete_policy(draft, meaning)[1]]


def beyond(number: float) -> float:
    return math.nextafter(number, math.inf)


def below(number: float) -> float:
    return math.nextafter(number, -math.inf)


@pytest.mark.parametrize(
    ("name", "field", "allowed", "refused"),
    [
        ("look_interval", "look_interval", (0.05, DAY), (below(0.05), beyond(DAY))),
        ("settling", "settling", (0.0, DAY), (-1e-9, beyond(DAY))),
        ("alpha_rollback", "alpha_rollback", (1e-9, 0.5), (-0.1, below(1e-9), beyond(0.5))),
        ("alpha_promote", "alpha_promote", (1e-9, 0.5), (-0.1, below(1e-9), beyond(0.5))),
        ("power", "power", (0.5, 1.0), (below(0.5), beyond(1.0))),
        ("min_coverage", "labels.min_coverage", (1e-9, 1.0), (-0.1, beyond(1.0))),
        ("min_age", "labels.min_age", (0.0, YEAR), (-1e-9, beyond(YEAR))),
        ("max_coverage_gap", "labels.max_coverage_gap", (1e-9, 1.0), (-0.1, beyond(1.0))),
        ("drift_margin", "drift_margin", (1e-9, 1.0), (-0.1, below(1e-9), beyond(1.0))),
        ("stale_after", "stale_after", (30.0, YEAR), (below(30.0), beyond(YEAR))),
        ("fresh_instances", "fresh_instances", (1e-9, 1.0), (-0.1, beyond(1.0))),
    ],
)
def test_a_number_may_be_at_the_ends_of_its_range_and_not_beyond(
    name: str, field: str, allowed: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    def asked(number: float) -> list[str]:
        return wrong(PolicyDraft(**{name: number}))  # type: ignore[arg-type] # fields by name

    assert [asked(number) for number in allowed] == [[]] * len(allowed)
    assert [asked(number) for number in refused] == [[f"policy.{field}"]] * len(refused)
    assert f"policy.{field}" in asked(math.nan)


def test_certainty_and_the_largest_shift_are_judged_as_nearly_that() -> None:
    policy, _ = complete_policy(PolicyDraft(power=1.0, drift_margin=1.0), CHURN)
    assert (policy.power, policy.drift_margin) == (0.9999, 0.999)


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        (StepDraft(500), []),
        (StepDraft(499), ["share_bps"]),
        (StepDraft(9_999), []),
        (StepDraft(10_000), ["share_bps"]),
        (StepDraft(500, period=1e-3), []),
        (StepDraft(500, period=below(1e-3)), ["period"]),
        (StepDraft(500, period=YEAR), []),
        (StepDraft(500, period=beyond(YEAR)), ["period"]),
        (StepDraft(500, period=60.0, min_duration=60.0), []),
        (StepDraft(500, period=60.0, min_duration=beyond(60.0)), ["min_duration"]),
        (StepDraft(500, min_duration=-1e-9), ["min_duration"]),
        (StepDraft(500, min_duration=3_600.0), []),
        (StepDraft(500, min_duration=beyond(3_600.0)), ["min_duration"]),
    ],
)
def test_a_step_may_be_at_the_ends_of_its_ranges_and_not_beyond(step: StepDraft, fields: list[str]) -> None:
    _, violations = complete_plan(PlanDraft((StepDraft(500), step)))
    assert [one.field for one in violations] == [f"plan.steps[1].{field}" for field in fields]


def test_the_first_step_may_have_any_share_but_none_or_all() -> None:
    for share, shadow in ((1, False), (1, True), (9_999, False)):
        assert complete_plan(PlanDraft((StepDraft(share, shadow=shadow),)))[1] == ()
    (violation,) = complete_plan(PlanDraft((StepDraft(10_000),)))[1]
    assert violation.description.startswith("at 100 % nothing is left to compare with")
    (violation,) = complete_plan(PlanDraft((StepDraft(0),)))[1]
    assert violation.description.startswith("0 is out of range: 1 to 9999 basis points")


@pytest.mark.parametrize(
    ("gate", "fields"),
    [
        (GateDraft(MetricKind.ERRORS, safe=GateMargin(1.1, 0.0005)), []),
        (GateDraft(MetricKind.ERRORS, safe=GateMargin(1.09, 0.0005)), ["safe"]),
        (GateDraft(MetricKind.ERRORS, safe=GateMargin(1.1, 0.0004)), ["safe"]),
        (GateDraft(MetricKind.RUNTIME, harm=GateMargin(buckets=2), safe=GateMargin(buckets=2)), []),
        (GateDraft(MetricKind.RUNTIME, harm=GateMargin(buckets=3)), ["safe"]),
        (GateDraft(MetricKind.RUNTIME, safe=GateMargin(buckets=40)), []),
        (GateDraft(MetricKind.RUNTIME, harm=GateMargin(buckets=0), safe=GateMargin(buckets=0)), ["safe"]),
        (GateDraft(MetricKind.ERRORS, harm=GateMargin(), safe=GateMargin(factor=1.01)), []),
        (GateDraft(MetricKind.ACCURACY, safe=GateMargin(offset=below(1.0 - 1e-12))), []),
        (GateDraft(MetricKind.ACCURACY, safe=GateMargin(offset=1.0 - 1e-12)), ["safe.offset"]),
        (GateDraft(MetricKind.ACCURACY, weight=math.inf), ["weight"]),
        (GateDraft(MetricKind.ACCURACY, weight=1e-9), []),
        (GateDraft(MetricKind.ACCURACY, weight=1e-10), ["weight"]),
        (GateDraft(MetricKind.ACCURACY, safe=GateMargin(math.inf, 0.1)), ["safe.factor"]),
        (GateDraft(MetricKind.F1, safe=GateMargin(offset=0.03)), []),
        (GateDraft(MetricKind.F1, safe=GateMargin(1.01, 0.03)), ["safe.factor"]),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=1e-4)), []),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=below(1e-4))), ["limit.duration"]),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=9.0)), []),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=beyond(9.0))), ["limit.duration"]),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=1.0, quantile=below(1.0))), []),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=1.0, quantile=-0.1)), ["limit.quantile"]),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=1.0, quantile=below(1e-12))), ["limit.quantile"]),
        (GateDraft(MetricKind.ACCURACY, limit=Limit(at_least=below(1.0))), []),
        (GateDraft(MetricKind.ACCURACY, limit=Limit(at_least=below(1e-12))), ["limit.at_least"]),
        (GateDraft(MetricKind.ERRORS, "most", limit=Limit(at_most=below(1e-12))), ["limit.at_most"]),
        (GateDraft(MetricKind.CUSTOM, bad_query="b" * 2_000, total_query="t"), []),
        (GateDraft(MetricKind.CUSTOM, bad_query="b" * 2_001, total_query=" "), ["bad_query", "total_query"]),
        (GateDraft(MetricKind.ERRORS, segment="s" * 63), []),
        (GateDraft(MetricKind.ERRORS, segment="s" * 64), ["segment"]),
    ],
)
def test_a_gate_may_be_at_the_ends_of_its_ranges_and_not_beyond(gate: GateDraft, fields: list[str]) -> None:
    draft = PolicyDraft(gates=(GateDraft(MetricKind.ERRORS, "first", required=True), gate))
    assert wrong(draft) == [f"policy.gates[1].{field}" for field in fields]


@pytest.mark.parametrize("weights", [(1e308, 1e308), (math.inf, -math.inf), (math.nan, 1e308), (beyond(1e9), -1.0)])
def test_weights_that_cannot_be_added_up_are_refused(weights: tuple[float, float]) -> None:
    one, other = weights
    draft = PolicyDraft(gates=(replace(ERRORS, weight=one), GateDraft(MetricKind.RUNTIME, weight=other)))
    assert wrong(draft) == ["policy.gates[0].weight", "policy.gates[1].weight"]


@pytest.mark.parametrize("weight", [5e-324, 1e-300, 1e-10])
def test_a_gate_of_next_to_no_weight_is_refused_as_none_could_judge_it(weight: float) -> None:
    draft = PolicyDraft(gates=(replace(ERRORS, weight=weight), GateDraft(MetricKind.RUNTIME, weight=3.0)))
    (violation,) = complete_policy(draft, CHURN)[1]
    assert violation.field == "policy.gates[0].weight"
    assert violation.description == f"{weight:g} is too little beside all gates' 3: 1e-09 of it is the least"
    alone, violations = complete_policy(PolicyDraft(gates=(replace(ERRORS, weight=weight),)), CHURN)
    assert ([gate.share for gate in alone.gates], violations) == ([1.0], ())


@pytest.mark.parametrize(
    "gate",
    [
        GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=1e-4, quantile=1e-12)),
        GateDraft(MetricKind.ACCURACY, limit=Limit(at_least=1e-12)),
        GateDraft(MetricKind.ERRORS, "most", limit=Limit(at_most=1e-12)),
        GateDraft(MetricKind.PAIRED_ACCURACY, safe=GateMargin(offset=below(1.0 - 1e-12))),
    ],
    ids=["quantile", "at_least", "at_most", "offset"],
)
def test_the_last_number_that_is_taken_is_one_to_judge_by(gate: GateDraft) -> None:
    policy, violations = complete_policy(PolicyDraft(gates=(ERRORS, gate)), CHURN)
    assert not violations
    assert all(open_gate(one, demo_terms(policy)) is not None for one in policy.gates)


def test_a_policy_of_nothing_but_what_is_watched_asks_for_a_gate() -> None:
    assert wrong(PolicyDraft(gates=(GateDraft(MetricKind.INPUT_DRIFT),))) == ["policy.gates"]


def test_a_positive_class_of_a_version_whose_classes_are_not_known_is_judged_by_f1() -> None:
    policy, violations = complete_policy(PolicyDraft(), Meaning("classification", positive="churns"))
    assert not violations
    assert [(gate.metric, gate.positive) for gate in policy.gates][2] == (MetricKind.F1, "churns")


def test_balance_is_of_up_to_a_hundred_classes() -> None:
    balance = PolicyDraft(gates=(ERRORS, GateDraft(MetricKind.CLASS_BALANCE)))
    classes = tuple(f"c{number}" for number in range(101))
    assert wrong(balance, Meaning("classification", classes[:100])) == []
    assert wrong(balance, Meaning("classification", classes)) == ["policy.gates[1].positive_class"]


def test_labels_are_counted_by_the_predicted_class_up_to_thirty_two_classes() -> None:
    classes = tuple(f"c{number}" for number in range(33))
    f1 = PolicyDraft(gates=(ERRORS, GateDraft(MetricKind.F1)))
    for number, fields, metric in ((32, [], MetricKind.F1), (33, ["positive_class"], MetricKind.ACCURACY)):
        meaning = Meaning("classification", classes[:number], "c0")
        assert wrong(f1, meaning) == [f"policy.gates[1].{field}" for field in fields]
        assert complete_policy(PolicyDraft(), meaning)[0].gates[2].metric is metric


def test_of_many_classes_the_first_twenty_are_named() -> None:
    for number, said in ((20, "c19, or '*'"), (21, "c19, …, or '*'")):
        meaning = Meaning("classification", tuple(f"c{place}" for place in range(number)))
        (violation,) = complete_policy(PolicyDraft(gates=(ERRORS, GateDraft(MetricKind.F1))), meaning)[1]
        assert said in violation.description


@pytest.mark.parametrize("margin", ["harm", "safe"])
def test_a_gate_with_a_limit_has_neither_margin(margin: str) -> None:
    margins = {margin: GateMargin(buckets=2)}
    gate = GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=0.02), **margins)  # type: ignore[arg-type] # fields by name
    assert wrong(PolicyDraft(gates=(ERRORS, gate))) == ["policy.gates[1]"]


def test_what_is_asked_for_is_what_a_gate_is_judged_by() -> None:
    harm, safe, better = GateMargin(offset=0.004), GateMargin(offset=0.03), GateMargin(offset=0.01)
    gates = (ERRORS, GateDraft(MetricKind.ACCURACY, harm=harm, safe=safe, primary=True, better=better))
    policy, violations = complete_policy(PolicyDraft(gates=gates), CHURN, Objective.SUPERIOR)
    assert not violations
    accuracy = policy.gates[1]
    assert (accuracy.harm, accuracy.safe, accuracy.better, accuracy.need) == (harm, safe, better, Need.ALWAYS)


def test_the_primary_gate_keeps_its_place_and_one_with_a_limit_is_none() -> None:
    limit = GateDraft(MetricKind.ACCURACY, required=True, limit=Limit(at_least=0.9))
    gates = (ERRORS, GateDraft(MetricKind.RECALL, required=True), limit, GateDraft(MetricKind.RUNTIME))
    policy, violations = complete_policy(PolicyDraft(gates=gates), CHURN, Objective.SUPERIOR)
    assert not violations
    assert [gate.name for gate in policy.gates] == ["errors", "recall", "accuracy limit", "runtime"]
    assert [gate.better is not None for gate in policy.gates] == [False, True, False, False]
    alone, (violation,) = with_primary((policy.gates[0], policy.gates[2]))
    assert (alone, violation.field) == ((policy.gates[0], policy.gates[2]), "policy.gates")


@pytest.mark.parametrize(
    "gate",
    [
        GateDraft(MetricKind.ACCURACY, required=True, segment="eu"),
        GateDraft(MetricKind.RECALL, required=True, positive="*"),
    ],
    ids=["segment", "each class"],
)
def test_what_may_not_be_said_to_be_primary_is_not_primary_by_default_either(gate: GateDraft) -> None:
    """A version that is better for the callers of one segment would win the test for all."""
    _, (violation,) = complete_policy(PolicyDraft(gates=(ERRORS, gate)), CHURN, Objective.SUPERIOR)
    assert (violation.field, violation.description.split(":")[0]) == ("policy.gates", "say which gate is primary")
    gates = (ERRORS, gate, GateDraft(MetricKind.F1, required=True))
    policy, violations = complete_policy(PolicyDraft(gates=gates), CHURN, Objective.SUPERIOR)
    assert not violations
    assert [one.better is not None for one in policy.gates] == [False, False, True]


def asked(*gates: policy_pb2.Gate, steps: int = 1) -> list[str]:
    plan = policy_pb2.TrafficPlan(steps=[policy_pb2.Step()] * steps)
    return [one.field for one in size_violations(policy_pb2.Policy(gates=gates), plan)]


def test_a_policy_and_a_plan_may_be_as_large_as_this_and_no_larger() -> None:
    gate = policy_pb2.Gate(name="n" * NAME_LIMIT, positive_class="p" * LABEL_LIMIT, segment="s" * 63)
    assert asked(*[gate] * GATES_LIMIT, steps=STEPS_LIMIT) == []
    bad = policy_pb2.Gate(name="\n")
    # Nothing of too many is looked at one by one.
    assert asked(*[bad] * (GATES_LIMIT + 1)) == ["policy.gates"]
    assert asked(bad, steps=STEPS_LIMIT + 1) == ["plan.steps"]
    long = policy_pb2.Gate(name="n" * (NAME_LIMIT + 1), positive_class="p" * (LABEL_LIMIT + 1), segment="s" * 64)
    assert asked(gate, long) == [f"policy.gates[1].{field}" for field in ("name", "positive_class", "segment")]


def test_what_cannot_be_shown_is_refused_and_queries_may_have_lines() -> None:
    assert asked(policy_pb2.Gate(name="a\x1b[31m")) == ["policy.gates[0].name"]
    assert asked(policy_pb2.Gate(positive_class="a\nb")) == ["policy.gates[0].positive_class"]
    assert asked(policy_pb2.Gate(bad_query="sum(\n\tbad)", total_query="sum(\n\tall)")) == []
    assert asked(policy_pb2.Gate(bad_query="\x00", total_query="a\x1bb")) == [
        "policy.gates[0].bad_query",
        "policy.gates[0].total_query",
    ]


def test_classes_may_take_as_many_bytes_as_a_signature_has_and_no_more() -> None:
    # Two bytes each in UTF-8.
    name = "ü" * 512
    assert class_violations([name] * (CLASSES_BYTES // 1024), "p" * LABEL_LIMIT) == ()
    (violation,) = class_violations([name] * (CLASSES_BYTES // 1024) + ["a"], "")
    assert violation.field == "classes"
    (violation,) = class_violations(["a"], "p" * (LABEL_LIMIT + 1))
    assert violation.field == "positive_class"
    # So many are not looked at, though they are short.
    assert class_violations(["a"] * (CLASSES_BYTES // 3), "") == ()
    assert class_violations(["a"] * (CLASSES_BYTES // 3 + 1), "") != ()


def test_a_forecast_may_be_asked_for_as_many_harms_as_a_policy_has_gates() -> None:
    assert harm_violations(GATES_LIMIT, [f"{number:n>{NAME_LIMIT}}" for number in range(GATES_LIMIT)]) == ()
    assert [one.field for one in harm_violations(GATES_LIMIT + 1, [])] == ["harms"]
    assert [one.field for one in harm_violations(2, ["a", "n" * (NAME_LIMIT + 1)])] == ["harms[1].gate"]
