"""Questions that say too much: they are refused before anything is read of them, on the loop that also looks."""

import time
from typing import Any, cast

import pytest
from grpc import aio

from crossfade.common.v1 import policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.name_checks import LABEL_LIMIT
from evaluator.ports import OwnSource, Registry
from evaluator.questions.questions import Forecasted, Other, Questions, ToCome
from evaluator.questions.replay import Replayed
from evaluator.rpc.servicer import EvaluatorServicer
from services.common.errors import InvalidArgumentError
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning, Violation
from services.common.policy.sizes import CLASSES_BYTES, GATES_LIMIT, NAME_LIMIT, STEPS_LIMIT

CONTEXT = cast("aio.ServicerContext[Any, Any]", None)
LEAST_CLASS_BYTES = 3


class Unasked(Questions):
    """Questions that are to be refused before they come here."""

    def __init__(self) -> None:
        super().__init__(cast("Registry", None), cast("OwnSource", None))

    async def replay(self, name: str, other: Other) -> tuple[Replayed, tuple[Violation, ...]]:
        raise AssertionError((name, len(str(other))))

    async def forecast(self, asked: ToCome) -> Forecasted:
        raise AssertionError(len(str(asked)))


def steps(number: int) -> policy_pb2.TrafficPlan:
    return policy_pb2.TrafficPlan(steps=[policy_pb2.Step(share_bps=500)] * number)


def gates(number: int, name: str = "", segment: str = "", positive_class: str = "") -> policy_pb2.Policy:
    gate = policy_pb2.Gate(name=name, metric=policy_pb2.METRIC_ERRORS, segment=segment, positive_class=positive_class)
    return policy_pb2.Policy(gates=[gate] * number)


TOO_MUCH = [
    (policy_pb2.Policy(), steps(STEPS_LIMIT + 1), "plan.steps"),
    (gates(GATES_LIMIT + 1), policy_pb2.TrafficPlan(), "policy.gates"),
    (gates(1, name="x" * (NAME_LIMIT + 1)), policy_pb2.TrafficPlan(), "policy.gates[0].name"),
    (gates(1, segment="x" * 64), policy_pb2.TrafficPlan(), "policy.gates[0].segment"),
    (gates(1, positive_class="x" * (LABEL_LIMIT + 1)), policy_pb2.TrafficPlan(), "policy.gates[0].positive_class"),
]


@pytest.mark.parametrize(("policy", "plan", "field"), TOO_MUCH, ids=[field for _, _, field in TOO_MUCH])
async def test_every_question_refuses_a_draft_that_says_too_much(
    policy: policy_pb2.Policy, plan: policy_pb2.TrafficPlan, field: str
) -> None:
    servicer = EvaluatorServicer(Unasked())
    found: list[evaluator_pb2.CheckPolicyResponse | evaluator_pb2.ReplayResponse | evaluator_pb2.ForecastResponse] = [
        await servicer.CheckPolicy(evaluator_pb2.CheckPolicyRequest(policy=policy, plan=plan), CONTEXT),
        await servicer.Replay(
            evaluator_pb2.ReplayRequest(name="models/m/rollouts/1", policy=policy, plan=plan), CONTEXT
        ),
        await servicer.Forecast(evaluator_pb2.ForecastRequest(model="models/m", policy=policy, plan=plan), CONTEXT),
    ]
    for answer in found:
        (violation,) = answer.violations
        assert violation.field == field
        assert "at most" in violation.description


async def test_a_plan_of_very_many_steps_keeps_nobody_waiting() -> None:
    request = evaluator_pb2.CheckPolicyRequest(plan=steps(200_000))
    began = time.process_time()
    answer = await EvaluatorServicer(Unasked()).CheckPolicy(request, CONTEXT)
    assert time.process_time() - began < 1.0
    assert [one.field for one in answer.violations] == ["plan.steps"]


@pytest.mark.parametrize(
    ("classes", "positive", "field"),
    [
        ([""] * (CLASSES_BYTES // LEAST_CLASS_BYTES + 1), "", "classes"),
        (["x" * CLASSES_BYTES, "y"], "", "classes"),
        (["a"], "x" * (LABEL_LIMIT + 1), "positive_class"),
    ],
    ids=["many", "long", "positive"],
)
async def test_classes_that_no_version_has_are_refused(classes: list[str], positive: str, field: str) -> None:
    request = evaluator_pb2.CheckPolicyRequest(task="classification", classes=classes, positive_class=positive)
    answer = await EvaluatorServicer(Unasked()).CheckPolicy(request, CONTEXT)
    assert [one.field for one in answer.violations] == [field]


def test_a_hundred_gates_on_a_hundred_thousand_classes_are_checked_in_one_reading_of_them() -> None:
    gates = tuple(GateDraft(MetricKind.RECALL, str(number), required=True, positive="z") for number in range(100))
    meaning = Meaning("classification", tuple(f"{number:05x}" for number in range(100_000)))
    began = time.process_time()
    _, violations = complete_policy(PolicyDraft(gates), meaning)
    # 0.05 s here; 0.7 s where each gate reads them.
    assert time.process_time() - began < 0.3
    assert len(violations) == len(gates)


@pytest.mark.parametrize(
    ("harms", "field"),
    [
        ([evaluator_pb2.Harm(gate="errors", by=0.1)] * (GATES_LIMIT + 1), "harms"),
        ([evaluator_pb2.Harm(gate="x" * (NAME_LIMIT + 1), by=0.1)], "harms[0].gate"),
        # Of which of both the forecast is nobody would see.
        ([evaluator_pb2.Harm(gate=gate, by=0.1) for gate in ("errors", "accuracy", "errors")], "harms[2].gate"),
    ],
)
async def test_harms_are_not_too_many_nor_too_long_and_none_is_said_twice(
    harms: list[evaluator_pb2.Harm], field: str
) -> None:
    request = evaluator_pb2.ForecastRequest(model="models/m", harms=harms)
    answer = await EvaluatorServicer(Unasked()).Forecast(request, CONTEXT)
    assert [one.field for one in answer.violations] == [field]


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("model", evaluator_pb2.ForecastRequest(model="models/" + "x" * 100_000)),
        ("segment", evaluator_pb2.ForecastRequest(model="models/m", segment="x" * 100_000)),
        ("version", evaluator_pb2.ForecastRequest(model="models/m", version="x" * 100_000)),
    ],
    ids=["model", "segment", "version"],
)
async def test_a_forecast_of_what_can_have_no_such_name_asks_nobody(
    field: str, request_: evaluator_pb2.ForecastRequest
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await EvaluatorServicer(Unasked()).Forecast(request_, CONTEXT)
    assert (caught.value.reason, caught.value.field) == ("FIELD_INVALID", field)
