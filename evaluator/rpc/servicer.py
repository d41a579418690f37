"""EvaluatorService: proto to domain and back, nothing else."""

from collections.abc import Sequence
from typing import Any, Final

from grpc import aio

from crossfade import names
from crossfade.common.v1 import policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from evaluator.questions.questions import Other, Questions, ToCome
from evaluator.questions.replay import Moment
from evaluator.rpc import proto_forecast, proto_summary
from services.common import times
from services.common.errors import InvalidArgumentError
from services.common.policy import messages as policy_messages
from services.common.policy.defaults import check_together, complete_plan, complete_policy
from services.common.policy.records import Meaning, Objective, Violation
from services.common.policy.sizes import class_violations, harm_violations, size_violations
from services.common.policy.timing import check_times
from services.common.text import shown

# Methods are named as in the contract.
# ruff: noqa: N802


_WATCH: Final = 10.0
_SHORTEST_WATCH: Final = 1.0
_LONGEST_WATCH: Final = 60.0


class EvaluatorServicer(evaluator_pb2_grpc.EvaluatorServiceServicer):
    """Answers to people.

    Args:
        questions: answers those that need the Registry.
    """

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def CheckPolicy(
        self,
        request: evaluator_pb2.CheckPolicyRequest,
        context: "aio.ServicerContext[Any, Any]",
    ) -> evaluator_pb2.CheckPolicyResponse:
        """A dry run of a policy and a plan."""
        del context
        too_much = (
            *size_violations(request.policy, request.plan),
            *class_violations(request.classes, request.positive_class),
        )
        if too_much:
            return evaluator_pb2.CheckPolicyResponse(violations=_violations(too_much))
        objective, sticky = _objective(request.objective), request.assignment == policy_pb2.ASSIGNMENT_KEY
        policy, policy_violations = complete_policy(
            policy_messages.policy_draft(request.policy),
            Meaning(request.task, tuple(request.classes) or None, request.positive_class),
            objective,
            sticky=sticky,
        )
        plan, plan_violations = complete_plan(policy_messages.plan_draft(request.plan), objective)
        violations = (*policy_violations, *plan_violations, *check_together(policy, plan, sticky=sticky))
        if violations := violations or check_times(policy, plan):
            return evaluator_pb2.CheckPolicyResponse(violations=_violations(violations))
        return evaluator_pb2.CheckPolicyResponse(
            policy=policy_messages.policy_message(policy), plan=policy_messages.plan_message(plan)
        )

    async def Replay(
        self,
        request: evaluator_pb2.ReplayRequest,
        context: "aio.ServicerContext[Any, Any]",
    ) -> evaluator_pb2.ReplayResponse:
        """How a rollout would have gone under another policy."""
        del context
        try:
            names.parse_rollout(request.name)
        except ValueError as error:
            raise InvalidArgumentError("FIELD_INVALID", f"name: {error}", field="name") from error
        if too_much := size_violations(request.policy, request.plan):
            return evaluator_pb2.ReplayResponse(violations=_violations(too_much))
        other = Other(
            policy_messages.policy_draft(request.policy) if request.HasField("policy") else None,
            policy_messages.plan_draft(request.plan) if request.HasField("plan") else None,
            _objective(request.objective) if request.objective else None,
            request.against_itself,
        )
        found, violations = await self._questions.replay(request.name, other)
        return evaluator_pb2.ReplayResponse(
            violations=_violations(violations),
            looks=found.looks,
            parts_at=found.parts_at,
            recorded=[_moment(one) for one in found.recorded],
            replayed=[_moment(one) for one in found.replayed],
            last=None if found.last is None else proto_summary.to_proto(found.last),
        )

    async def Forecast(
        self,
        request: evaluator_pb2.ForecastRequest,
        context: "aio.ServicerContext[Any, Any]",
    ) -> evaluator_pb2.ForecastResponse:
        """What a rollout needs at the traffic that its lane has now."""
        del context
        try:
            model = names.check_id(names.parse_model(request.model), "the model")
        except ValueError as error:
            raise InvalidArgumentError("FIELD_INVALID", f"model: {error}", field="model") from error
        for field, value in (("segment", request.segment), ("version", request.version)):
            if value and not names.is_id(value):
                said = f"{field}: {shown(value)} is not an id: use {names.ID_RULE}"
                raise InvalidArgumentError("FIELD_INVALID", said, field=field)
        too_much = (
            *size_violations(request.policy, request.plan),
            *harm_violations(len(request.harms), (harm.gate for harm in request.harms)),
        )
        if too_much:
            return evaluator_pb2.ForecastResponse(violations=_violations(too_much))
        watch = times.seconds(request.watch) if request.HasField("watch") else _WATCH
        if not _SHORTEST_WATCH <= watch <= _LONGEST_WATCH:
            raise InvalidArgumentError(
                "FIELD_INVALID", f"watch: {watch:g} s is out of range: 1 s to 60 s", field="watch"
            )
        found = await self._questions.forecast(
            ToCome(
                model=model,
                segment=request.segment,
                version=request.version,
                policy=policy_messages.policy_draft(request.policy),
                plan=policy_messages.plan_draft(request.plan),
                objective=_objective(request.objective),
                drops={harm.gate: harm.by for harm in request.harms},
                watch=watch,
            )
        )
        if found.violations:
            return evaluator_pb2.ForecastResponse(violations=_violations(found.violations))
        return proto_forecast.to_proto(found)


def _objective(value: policy_pb2.Objective.ValueType) -> Objective:
    found = policy_messages.objective(value)
    if found is None:
        raise InvalidArgumentError(
            "FIELD_INVALID", "objective is unknown; use NON_INFERIOR or SUPERIOR", field="objective"
        )
    return found


def _violations(found: Sequence[Violation]) -> list[evaluator_pb2.Violation]:
    return [evaluator_pb2.Violation(field=one.field, description=one.description) for one in found]


def _moment(one: Moment) -> evaluator_pb2.ReplayedDecision:
    return evaluator_pb2.ReplayedDecision(
        sequence=one.sequence,
        time=times.timestamp(round(one.time * 1e6)),
        step=one.step,
        action=proto_summary.ACTIONS[one.action],
        gate=one.gate,
        reason=one.reason,
    )
