"""RPCs of rollouts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from opentelemetry import trace

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry import converters, views
from registry.domain.records import Outcome, PauseReason, Rollout, Signature
from registry.service.rollouts import RolloutService
from registry.service.targets import Target
from registry.servicer import filters, pages, validation
from registry.servicer.acting import check_acting
from registry.servicer.calls import Calls, Context
from registry.servicer.policy_validation import check_spec
from services.common.policy.records import Meaning
from services.common.telemetry.tracing import KEEP, extract

# Methods are named as in the contract.
# ruff: noqa: N802


class RolloutServicer(service_pb2_grpc.RegistryServiceServicer):
    """Rollouts and their transitions."""

    def __init__(self, calls: Calls, rollouts: RolloutService, tracer: trace.Tracer) -> None:
        self._calls = calls
        self._rollouts = rollouts
        self._tracer = tracer

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
        return resources_pb2.Rollout.FromString(await self._calls.run(work))

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
        return resources_pb2.Rollout.FromString(await self._calls.act(work, request.analysis_sequence, deadline))

    async def PauseRollout(self, request: service_pb2.PauseRolloutRequest, context: Context) -> resources_pb2.Rollout:
        """Stops the plan's clock."""
        key = self._calls.key("PauseRollout", request, request.request_id)
        reason = validation.reason("reason", request.reason, request.analysis_sequence)
        why = validation.pause_reason(request.pause_reason)
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
        return resources_pb2.Rollout.FromString(await self._calls.act(work, request.analysis_sequence, deadline))

    async def ResumeRollout(self, request: service_pb2.ResumeRolloutRequest, context: Context) -> resources_pb2.Rollout:
        """Lets the plan go on."""
        key = self._calls.key("ResumeRollout", request, request.request_id)
        reason = validation.reason("reason", request.reason, request.analysis_sequence)
        deadline = self._calls.deadline(context)
        work = partial(self._rollouts.resume, key, _target(request), reason, _pack, deadline=deadline)
        return resources_pb2.Rollout.FromString(await self._calls.act(work, request.analysis_sequence, deadline))

    async def ApproveRollout(
        self, request: service_pb2.ApproveRolloutRequest, context: Context
    ) -> resources_pb2.Rollout:
        """A person agrees to the promotion."""
        key = self._calls.key("ApproveRollout", request, request.request_id)
        reason = validation.text("reason", request.reason)
        model, number = validation.rollout_name("name", request.name)
        target = Target(model, number, validation.etag(request.etag), 0)
        work = partial(self._rollouts.approve, key, target, reason, _pack, deadline=self._calls.deadline(context))
        return resources_pb2.Rollout.FromString(await self._calls.run(work))

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
        with self._span("promote", context, target, request.outcome) as span:
            rollout = resources_pb2.Rollout.FromString(await self._calls.act(work, request.analysis_sequence, deadline))
            _describe(span, rollout)
        return rollout

    async def RollbackRollout(
        self, request: service_pb2.RollbackRolloutRequest, context: Context
    ) -> resources_pb2.Rollout:
        """Marks the version FAILED."""
        key = self._calls.key("RollbackRollout", request, request.request_id)
        target = _target(request)
        outcome = _outcome(request)
        deadline = self._calls.deadline(context)
        work = partial(self._rollouts.rollback, key, target, outcome, _pack, deadline=deadline)
        with self._span("rollback", context, target, request.outcome) as span:
            rollout = resources_pb2.Rollout.FromString(await self._calls.act(work, request.analysis_sequence, deadline))
            _describe(span, rollout)
        return rollout

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
        return resources_pb2.Rollout.FromString(await self._calls.act(work, request.analysis_sequence, deadline))

    @contextmanager
    def _span(
        self, name: str, context: Context, target: Target, outcome: resources_pb2.Outcome
    ) -> Iterator[trace.Span]:
        """A span that is always kept, with the evidence as attributes."""
        attributes: dict[str, str | int | float | bool] = {
            KEEP: True,
            "crossfade.model": target.model,
            "crossfade.rollout": target.number,
            "crossfade.analysis_sequence": target.analysis_sequence,
            "crossfade.reason": outcome.reason,
            "crossfade.code": outcome.code,
            "crossfade.gate": outcome.gate,
        }
        for gate in outcome.summary.gates:
            prefix = f"crossfade.gate.{gate.gate}."
            attributes[prefix + "verdict"] = analysis_pb2.Verdict.Name(gate.verdict).removeprefix("VERDICT_")
            attributes[prefix + "test"] = f"{gate.test.x}/{gate.test.n}"
            attributes[prefix + "baseline"] = f"{gate.baseline.x}/{gate.baseline.n}"
            attributes[prefix + "difference"] = gate.difference
            attributes[prefix + "low"] = gate.low
            attributes[prefix + "high"] = gate.high
            attributes[prefix + "harm_log_e"] = gate.harm.log_e
            attributes[prefix + "safe_log_e"] = gate.safe.log_e
        metadata = context.invocation_metadata() or ()
        parent = extract((str(key), value) for key, value in metadata)
        with self._tracer.start_as_current_span(
            f"registry.{name}", context=parent, kind=trace.SpanKind.SERVER, attributes=attributes
        ) as span:
            yield span


def _describe(span: trace.Span, rollout: resources_pb2.Rollout) -> None:
    span.set_attribute("crossfade.version", rollout.version)
    span.set_attribute("crossfade.stable_version", rollout.stable_version)
    span.set_attribute("crossfade.segment", rollout.segment)
    span.set_attribute("crossfade.actor", rollout.outcome.actor)


def _target(
    request: service_pb2.AdvanceRolloutRequest
    | service_pb2.PauseRolloutRequest
    | service_pb2.ResumeRolloutRequest
    | service_pb2.PromoteRolloutRequest
    | service_pb2.RollbackRolloutRequest
    | service_pb2.CancelRolloutRequest,
    *,
    force: bool = False,
) -> Target:
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
