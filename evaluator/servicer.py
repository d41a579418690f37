"""EvaluatorService: proto to domain and back, nothing else."""

from typing import Any

from grpc import aio

from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from services.common.policy import messages as policy_messages
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.records import Meaning


class EvaluatorServicer(evaluator_pb2_grpc.EvaluatorServiceServicer):
    """Answers to people."""

    async def CheckPolicy(  # noqa: N802 - the method's name in the contract
        self,
        request: evaluator_pb2.CheckPolicyRequest,
        context: "aio.ServicerContext[Any, Any]",
    ) -> evaluator_pb2.CheckPolicyResponse:
        """A dry run of a policy and a plan."""
        del context
        objective = policy_messages.objective(request.objective)
        if objective is None:
            unknown = evaluator_pb2.Violation(field="objective", description="is unknown: use NON_INFERIOR or SUPERIOR")
            return evaluator_pb2.CheckPolicyResponse(violations=[unknown])
        policy, policy_violations = complete_policy(
            policy_messages.policy_draft(request.policy),
            Meaning(request.task, tuple(request.classes) or None, request.positive_class),
            objective,
        )
        plan, plan_violations = complete_plan(policy_messages.plan_draft(request.plan), objective)
        violations = (*policy_violations, *plan_violations)
        if violations:
            return evaluator_pb2.CheckPolicyResponse(
                violations=[evaluator_pb2.Violation(field=one.field, description=one.description) for one in violations]
            )
        return evaluator_pb2.CheckPolicyResponse(
            policy=policy_messages.policy_message(policy), plan=policy_messages.plan_message(plan)
        )
