"""The Registry over gRPC."""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Protocol, TypeVar

import grpc
from grpc import aio

from crossfade import names
from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from evaluator.evidence.state import Look
from evaluator.ports import (
    DeniedError,
    EndedError,
    LaneView,
    MonitorRecord,
    MonitorView,
    ProcessView,
    Recorded,
    RefusedError,
    RolloutView,
    SupersededError,
    UnreachableError,
    VersionView,
)
from evaluator.rpc import proto_counts, proto_summary, proto_views
from evaluator.rpc.shared import Shared
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decision import Action, Decision
from evaluator.window.counts import Counts
from services.common.text import fitting

Metadata = tuple[tuple[str, str], ...]
_RequestT = TypeVar("_RequestT")
_ResponseT = TypeVar("_ResponseT")
_ListT = TypeVar("_ListT", bound="_List")
_PageT = TypeVar("_PageT", bound="_Page")
_LOOKS_PER_PAGE: Final = 10
"""A window of 20 Workers with 64 features each has about a megabyte."""
_PAGE: Final = 1_000
_LISTED_SECONDS: Final = 1.0
"""All looks of a moment share one list of the processes: that of 200 Workers with 20 models each takes the Registry
0.1 s, and 2,000 lanes are looked at each minute."""
_LONGEST: Final = 4_000
"""Characters of a reason that the Registry takes."""


class _List(Protocol):
    """The request of a list."""

    page_token: str


class _Page(Protocol):
    """The answer of a list."""

    @property
    def next_page_token(self) -> str:
        """Empty: the last page."""


class RegistryClient:
    """Implements `evaluator.ports.Registry`.

    Args:
        channel: to the Registry.
        metadata: gives what goes with every call: who calls, and the trace.
        timeout: seconds that a call may take.
    """

    def __init__(self, channel: aio.Channel, metadata: Callable[[], Metadata], timeout: float) -> None:
        self._stub = service_pb2_grpc.RegistryServiceStub(channel)
        self._metadata = metadata
        self._timeout = timeout
        self._processes = Shared(self._list_processes, _LISTED_SECONDS)

    async def live_rollouts(self) -> Sequence[RolloutView]:
        """Rollouts that have not ended."""
        request = service_pb2.ListRolloutsRequest(parent="models/-", page_size=_PAGE, live_only=True)
        pages = self._pages(self._stub.ListRollouts, request)
        return [proto_views.rollout(message) async for page in pages for message in page.rollouts]

    async def rollout(self, name: str) -> RolloutView:
        """One rollout."""
        return proto_views.rollout(await self._call(self._stub.GetRollout, service_pb2.GetRolloutRequest(name=name)))

    async def lane(self, model: str, segment: str) -> LaneView:
        """One lane."""
        request = service_pb2.GetModelRequest(name=names.model_name(model))
        lane = proto_views.lane(await self._call(self._stub.GetModel, request), segment)
        if lane is None:
            raise EndedError(
                f"{model} does not have {names.lane_title(segment)}; `crossfade status {model}` shows its lanes"
            )
        return lane

    async def version(self, model: str, version: str) -> VersionView:
        """One version."""
        request = service_pb2.GetVersionRequest(name=names.version_name(model, version))
        return proto_views.version(await self._call(self._stub.GetVersion, request))

    async def recorded(self, name: str, after: int) -> AsyncIterator[Recorded]:
        """Looks of a rollout after a number, page by page."""
        async for analyses in self._analyses(name, after):
            cursor = proto_counts.from_proto(analyses[-1].cursor)
            yield Recorded(tuple(proto_views.look(analysis) for analysis in analyses), cursor)

    async def concluded(self, name: str) -> AsyncIterator[Concluded]:
        """Every look of a rollout that is kept, with what it concluded."""
        async for analyses in self._analyses(name, 0):
            for analysis in analyses:
                yield proto_views.concluded(analysis)

    async def _analyses(self, name: str, after: int) -> AsyncIterator[Sequence[analysis_pb2.Analysis]]:
        request = service_pb2.ListAnalysesRequest(parent=name, after_sequence=after, page_size=_LOOKS_PER_PAGE)
        async for page in self._pages(self._stub.ListAnalyses, request):
            if page.analyses:
                yield page.analyses

    async def processes(self) -> Sequence[ProcessView]:
        """Routers and Workers whose leases run, as of a second ago at most."""
        return await self._processes.get()

    async def _list_processes(self) -> Sequence[ProcessView]:
        pages = self._pages(self._stub.ListInstances, service_pb2.ListInstancesRequest(page_size=_PAGE))
        views = [proto_views.process(message) async for page in pages for message in page.instances]
        return [view for view in views if view is not None]

    async def record(self, name: str, look: Look, policy_hash: str, cursor: Counts, decision: Decision) -> None:
        """Records a look."""
        analysis = proto_views.analysis(name, look, policy_hash, cursor, decision)
        request = service_pb2.RecordAnalysisRequest(analysis=analysis, request_id=_request_id())
        try:
            await self._call(self._stub.RecordAnalysis, request)
        except RefusedError as error:
            raise EndedError(str(error)) from error

    async def lanes(self) -> Sequence[tuple[str, LaneView]]:
        """Every lane, with its model's id."""
        pages = self._pages(self._stub.ListModels, service_pb2.ListModelsRequest(page_size=_PAGE))
        models = [message async for page in pages for message in page.models]
        return [(names.parse_model(model.name), lane) for model in models for lane in proto_views.lanes(model)]

    async def monitor(self, model: str, segment: str) -> MonitorView:
        """How a lane is watched, and what to go on from."""
        request = service_pb2.GetMonitorRequest(model=names.model_name(model), segment=segment, with_evidence=True)
        return proto_views.monitor(await self._call(self._stub.GetMonitor, request))

    async def record_monitor(self, model: str, segment: str, record: MonitorRecord) -> None:
        """Records a look at a lane."""
        monitor = resources_pb2.Monitor(
            model=names.model_name(model),
            segment=segment,
            version=record.version,
            sequence=record.sequence,
            summary=proto_summary.to_proto(record.decision),
            alerts=[resources_pb2.Alert(gate=gate, reason=fitting(reason, _LONGEST)) for gate, reason in record.alerts],
            evidence=record.evidence,
            cursor=proto_counts.to_proto(record.cursor),
        )
        request = service_pb2.RecordMonitorRequest(monitor=monitor, request_id=_request_id())
        await self._call(self._stub.RecordMonitor, request)

    async def undo(self, model: str, lane: LaneView, sequence: int, reason: str) -> None:
        """Makes the version before stable again."""
        request = service_pb2.UndoLaneRequest(
            model=names.model_name(model),
            segment=lane.segment,
            version=lane.previous,
            reason=fitting(reason, _LONGEST),
            etag=lane.etag,
            request_id=_request_id(),
            monitor_sequence=sequence,
        )
        await self._call(self._stub.UndoLane, request)

    async def act(self, rollout: RolloutView, sequence: int, decision: Decision) -> None:
        """Carries out a decision that rests on a look."""
        name, etag, number = rollout.name, rollout.etag, _request_id()
        reason = fitting(decision.reason, _LONGEST)
        outcome = resources_pb2.Outcome(
            reason=reason,
            code=decision.code,
            gate=decision.gate,
            summary=proto_summary.to_proto(decision),
            analysis_sequence=sequence,
            trace_ids=decision.trace_ids,
        )
        match decision.action:
            case Action.PROMOTE:
                promote = service_pb2.PromoteRolloutRequest(
                    name=name, etag=etag, analysis_sequence=sequence, outcome=outcome, request_id=number
                )
                await self._call(self._stub.PromoteRollout, promote)
            case Action.ADVANCE:
                advance = service_pb2.AdvanceRolloutRequest(
                    name=name,
                    etag=etag,
                    analysis_sequence=sequence,
                    reason=reason,
                    outcome=outcome,
                    request_id=number,
                )
                await self._call(self._stub.AdvanceRollout, advance)
            case Action.PAUSE:
                pause = service_pb2.PauseRolloutRequest(
                    name=name,
                    etag=etag,
                    analysis_sequence=sequence,
                    reason=reason,
                    pause_reason=resources_pb2.PAUSE_REASON_INPUT_DRIFT,
                    request_id=number,
                )
                await self._call(self._stub.PauseRollout, pause)
            case Action.RESUME:
                resume = service_pb2.ResumeRolloutRequest(
                    name=name, etag=etag, analysis_sequence=sequence, reason=reason, request_id=number
                )
                await self._call(self._stub.ResumeRollout, resume)
            case Action.ROLLBACK:
                rollback = service_pb2.RollbackRolloutRequest(
                    name=name, etag=etag, analysis_sequence=sequence, outcome=outcome, request_id=number
                )
                await self._call(self._stub.RollbackRollout, rollback)
            case Action.CANCEL:
                cancel = service_pb2.CancelRolloutRequest(
                    name=name,
                    etag=etag,
                    analysis_sequence=sequence,
                    outcome=outcome,
                    inconclusive=True,
                    request_id=number,
                )
                await self._call(self._stub.CancelRollout, cancel)
            case Action.NONE:
                return

    async def _pages(
        self, method: "aio.UnaryUnaryMultiCallable[_ListT, _PageT]", request: _ListT
    ) -> AsyncIterator[_PageT]:
        """The answers of a list, one after the other."""
        while True:
            page = await self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _call(
        self, method: "aio.UnaryUnaryMultiCallable[_RequestT, _ResponseT]", request: _RequestT
    ) -> _ResponseT:
        call = method(request, timeout=self._timeout, metadata=self._metadata())
        try:
            return await call
        except aio.AioRpcError as error:
            text = f"{error.code().name}: {error.details()}"
            match error.code():
                case grpc.StatusCode.ABORTED | grpc.StatusCode.ALREADY_EXISTS:
                    raise SupersededError(text) from error
                case grpc.StatusCode.NOT_FOUND:
                    raise EndedError(error.details() or text) from error
                case grpc.StatusCode.FAILED_PRECONDITION:
                    raise RefusedError(error.details() or text) from error
                case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
                    raise DeniedError(text) from error
                case _:
                    raise UnreachableError(text) from error
        finally:
            call.cancel()


def _request_id() -> str:
    return str(uuid.uuid4())
