"""RPCs of rollouts."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry import converters, views
from registry.domain.records import Outcome, PauseReason, Rollout, Signature
from registry.service.rollouts import RolloutService
from registry.service.targets import Target
from registry.servicer import filters, pages, validation
from registry.servicer.acting import check_acting
from registry.servicer.calls import Calls, Context
from registry.servicer.policy_validation import check_spec
from registry.servicer.spans import Spans, describe
from services.common.policy.records import Meaning

_Transition: TypeAlias = (
    service_pb2.AdvanceRolloutRequest
    | service_pb2.PauseRolloutRequest
    | service_pb2.ResumeRolloutRequest
    | service_pb2.PromoteRolloutRequest
    | service_pb2.RollbackRolloutRequest
    | service_pb2.CancelRolloutRequest
)
"""Of a rollout that runs."""

# Methods are named as in the contract.
# ruff: noqa: N802


class RolloutServicer(service_pb2_grpc.RegistryServiceServicer):
    """Rollouts and their transitions."""

    def __init__(self, calls: Calls, rollouts: RolloutService, spans: Spans) -> None:
        self._calls = calls
        self._rollouts = rollouts
        self._spans = spans

    async def StartRollout(self, request: service_pb2.StartRolloutRequest, context: Context) -> resources_pb2.Rollout:
        """Starts a rollout, or queues it."""
        key = self._calls.key("StartRollout", request, request.request_id)
        model, version = validation.version_name("version", request.version)
        segment = validation.segment("segment", request.segment)
        etag = validation.etag(request.etag)
        check_spec("rollout", request.rollout)

        def check(signature: Signature) -> None:
            """What the version's answers mean is known only when it is read."""
            meaning = Meaning(signature.task, signature.classes, signature.positive_class)
            check_spec("rollout", request.rollout, meaning)

        work = partial(
            self._rollouts.start,
            key,
            (model, version, segment),
            replace(converters.spec_from_proto(request.rollout), allow_incompatible=request.allow_incompatible),
            etag,
            _pack,
            check=check,
            deadline=self._calls.deadline(context),
        )
        with self._spans.transition("start", context, model, version=version, segment=segment) as span:
            rollout = resources_pb2.Rollout.FromString(await self._calls.run(work))
            describe(span, rollout)
        return rollout

    async def GetRollout(self, request: service_pb2.GetRolloutRequest, context: Context) -> resources_pb2.Rollout:
        """A rollout."""
        model, number = validation.rollout_name("name", request.name)
        work = partial(self._rollouts.get, model, number, deadline=self._calls.deadline(context))
        return views.rollout_to_proto(await self._calls.run(work))

    async def ListRollouts(
        self, request: service_pb2.ListRolloutsRequest, context: Context
    ) -> service_pb2.ListRolloutsResponse:
        """Rollouts, newest first."""
        model = validation.model_or_any("parent", request.parent)
        size = validation.page_size(request.page_size)
        only = filters.rollouts(request)
        listed = f"rollouts of {model or '-'} {only}"
        before = pages.read(listed, request.page_token, (0.0, "", 0))
        start = None if before is None else (float(before[0]), str(before[1]), int(before[2]))
        work = partial(
            self._rollouts.page,
            model,
            start,
            size + 1,
            only,
            deadline=self._calls.deadline(context),
        )
        found = await self._calls.run(work)
        rollouts, token = pages.cut(
            listed,
            found.rows,
            size,
            views.rollout_to_proto,
            lambda one: (one.created, one.model, one.number),
            cut_short=found.cut_short,
        )
        return service_pb2.ListRolloutsResponse(rollouts=rollouts, next_page_token=token)

    async def AdvanceRollout(
        self, request: service_pb2.AdvanceRolloutRequest, context: Context
    ) -> resources_pb2.Rollout:
        """Goes to the next step."""
        key = self._calls.key("AdvanceRollout", request, request.request_id)
        why = validation.reason("reason", request.reason, request.analysis_sequence)
        outcome = _outcome(request, why)
        deadline = self._calls.deadline(context)
        work = partial(
            self._rollouts.advance,
            key,
            _target(request, force=request.force),
            outcome,
            _pack,
            force=request.force,
            deadline=deadline,
        )
        return await self._act("advance", request, context, work, deadline, request.outcome, request.reason)

    async def PauseRollout(self, request: service_pb2.PauseRolloutRequest, context: Context) -> resources_pb2.Rollout:
        """Stops the plan's clock."""
        key = self._calls.key("PauseRollout", request, request.request_id)
        reason = validation.reason("reason", request.reason, request.analysis_sequence)
        why = validation.pause_reason(request.pause_reason, request.analysis_sequence)
        deadline = self._calls.deadline(context)
        work = partial(
            self._rollouts.pause,
            key,
            _target(request),
            reason,
            PauseReason(why),
            _pack,
            deadline=deadline,
        )
        return await self._act("pause", request, context, work, deadline, reason=reason)

    async def ResumeRollout(self, request: service_pb2.ResumeRolloutRequest, context: Context) -> resources_pb2.Rollout:
        """Lets the plan go on."""
        key = self._calls.key("ResumeRollout", request, request.request_id)
        reason = validation.reason("reason", request.reason, request.analysis_sequence)
        deadline = self._calls.deadline(context)
        work = partial(self._rollouts.resume, key, _target(request), reason, _pack, deadline=deadline)
        return await self._act("resume", request, context, work, deadline, reason=reason)

    async def ApproveRollout(
        self, request: service_pb2.ApproveRolloutRequest, context: Context
    ) -> resources_pb2.Rollout:
        """A person agrees to the promotion."""
        key = self._calls.key("ApproveRollout", request, request.request_id)
        reason = validation.text("reason", request.reason)
        model, number = validation.rollout_name("name", request.name)
        target = Target(model, number, validation.etag(request.etag), 0)
        work = partial(self._rollouts.approve, key, target, reason, _pack, deadline=self._calls.deadline(context))
        with self._spans.transition("approve", context, model, rollout=number, reason=reason) as span:
            rollout = resources_pb2.Rollout.FromString(await self._calls.run(work))
            describe(span, rollout)
        return rollout

    async def PromoteRollout(
        self, request: service_pb2.PromoteRolloutRequest, context: Context
    ) -> resources_pb2.Rollout:
        """Makes the version stable."""
        key = self._calls.key("PromoteRollout", request, request.request_id)
        target = _target(request, force=request.force)
        outcome = _outcome(request)
        deadline = self._calls.deadline(context)
        work = partial(
            self._rollouts.promote,
            key,
            target,
            outcome,
            _pack,
            force=request.force,
            deadline=deadline,
        )
        return await self._act("promote", request, context, work, deadline, request.outcome)

    async def RollbackRollout(
        self, request: service_pb2.RollbackRolloutRequest, context: Context
    ) -> resources_pb2.Rollout:
        """Marks the version FAILED."""
        key = self._calls.key("RollbackRollout", request, request.request_id)
        target = _target(request)
        outcome = _outcome(request)
        deadline = self._calls.deadline(context)
        work = partial(self._rollouts.rollback, key, target, outcome, _pack, deadline=deadline)
        return await self._act("rollback", request, context, work, deadline, request.outcome)

    async def CancelRollout(self, request: service_pb2.CancelRolloutRequest, context: Context) -> resources_pb2.Rollout:
        """Ends a rollout without blame."""
        key = self._calls.key("CancelRollout", request, request.request_id)
        deadline = self._calls.deadline(context)
        work = partial(
            self._rollouts.cancel,
            key,
            _target(request),
            _outcome(request),
            _pack,
            inconclusive=request.inconclusive,
            deadline=deadline,
        )
        return await self._act("cancel", request, context, work, deadline, request.outcome)

    async def _act(
        self,
        name: str,
        request: _Transition,
        context: Context,
        work: Callable[[], bytes],
        deadline: float,
        outcome: resources_pb2.Outcome | None = None,
        reason: str = "",
    ) -> resources_pb2.Rollout:
        """Carries a transition out, which an Evaluator may have asked for, inside its span."""
        target = _target(request)
        with self._spans.transition(
            name,
            context,
            target.model,
            outcome,
            rollout=target.number,
            analysis_sequence=target.analysis_sequence,
            reason=reason,
        ) as span:
            rollout = resources_pb2.Rollout.FromString(await self._calls.act(work, target.analysis_sequence, deadline))
            describe(span, rollout)
        return rollout


def _target(request: _Transition, *, force: bool = False) -> Target:
    model, number = validation.rollout_name("name", request.name)
    sequence = validation.not_negative("analysis_sequence", request.analysis_sequence)
    check_acting("analysis_sequence", sequence, force=force)
    return Target(model, number, validation.etag(request.etag), sequence)


def _outcome(
    request: service_pb2.AdvanceRolloutRequest
    | service_pb2.PromoteRolloutRequest
    | service_pb2.RollbackRolloutRequest
    | service_pb2.CancelRolloutRequest,
    reason: str = "",
) -> Outcome:
    given = validation.outcome("outcome", request.outcome, request.analysis_sequence)
    given.reason = reason or given.reason
    return converters.outcome_from_proto(given)


def _pack(rollout: Rollout) -> bytes:
    return converters.pack(views.rollout_to_proto(rollout))
