"""RPCs that change a lane without a rollout."""

from functools import partial

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry.domain.ledger import NO_REASON
from registry.domain.records import Undo
from registry.service.lane_actions import LaneService
from registry.service.segments import SegmentService
from registry.servicer import answers, validation
from registry.servicer.acting import check_acting
from registry.servicer.calls import Calls, Context
from registry.servicer.spans import Spans

# Methods are named as in the contract.
# ruff: noqa: N802


class LaneServicer(service_pb2_grpc.RegistryServiceServicer):
    """Lanes."""

    def __init__(self, calls: Calls, lanes: LaneService, segments: SegmentService, spans: Spans) -> None:
        self._calls = calls
        self._lanes = lanes
        self._segments = segments
        self._spans = spans

    async def SetSegment(self, request: service_pb2.SetSegmentRequest, context: Context) -> resources_pb2.Lane:
        """Gives a segment a lane of its own."""
        key = self._calls.key("SetSegment", request, request.request_id)
        name = (validation.model_name("model", request.model), validation.own_segment("segment", request.segment))
        version = validation.identifier("version", request.version) if request.version else ""
        reason = validation.text("reason", request.reason)
        etag = validation.etag(request.etag)
        deadline = self._calls.deadline(context)
        work = partial(
            self._segments.set,
            key,
            name,
            version,
            reason,
            etag,
            answers.pack_lane,
            force=request.force,
            deadline=deadline,
        )
        return resources_pb2.Lane.FromString(await self._calls.run(work))

    async def DeleteSegment(self, request: service_pb2.DeleteSegmentRequest, context: Context) -> resources_pb2.Model:
        """Takes a segment's lane away."""
        key = self._calls.key("DeleteSegment", request, request.request_id)
        name = (validation.model_name("model", request.model), validation.own_segment("segment", request.segment))
        reason = validation.text("reason", request.reason)
        work = partial(
            self._segments.delete,
            key,
            name,
            reason,
            validation.etag(request.etag),
            answers.pack_model,
            cancel_rollout=request.cancel_rollout,
            force=request.force,
            deadline=self._calls.deadline(context),
        )
        return resources_pb2.Model.FromString(await self._calls.run(work))

    async def LoadVersion(self, request: service_pb2.LoadVersionRequest, context: Context) -> resources_pb2.Lane:
        """Has Workers hold a version without traffic, or lets it go."""
        key = self._calls.key("LoadVersion", request, request.request_id)
        model, version = validation.version_name("name", request.name)
        name = (model, version, validation.segment("segment", request.segment))
        seconds = validation.load_seconds(request)
        etag = validation.etag(request.etag)
        deadline = self._calls.deadline(context)
        work = partial(self._lanes.load, key, name, seconds, etag, answers.pack_lane, deadline=deadline)
        return resources_pb2.Lane.FromString(await self._calls.run(work))

    async def WithdrawVersion(
        self, request: service_pb2.WithdrawVersionRequest, context: Context
    ) -> resources_pb2.Version:
        """Takes a PENDING version back."""
        key = self._calls.key("WithdrawVersion", request, request.request_id)
        model, version = validation.version_name("name", request.name)
        name = (model, version, validation.segment("segment", request.segment))
        etag = validation.etag(request.etag)
        reason = validation.text("reason", request.reason) or NO_REASON
        deadline = self._calls.deadline(context)
        work = partial(self._lanes.withdraw, key, name, reason, etag, answers.pack_version, deadline=deadline)
        with self._spans.transition("withdraw", context, model, version=version, segment=name[2], reason=reason):
            return resources_pb2.Version.FromString(await self._calls.run(work))

    async def UndoLane(self, request: service_pb2.UndoLaneRequest, context: Context) -> resources_pb2.Lane:
        """Makes an earlier version stable again."""
        key = self._calls.key("UndoLane", request, request.request_id)
        lane = (validation.model_name("model", request.model), validation.segment("segment", request.segment))
        wanted = Undo(
            version=validation.identifier("version", request.version) if request.version else "",
            reason=validation.reason("reason", request.reason, request.monitor_sequence) or NO_REASON,
            bad=request.bad,
            cancel_rollout=request.cancel_rollout,
            force=request.force,
        )
        etag = validation.etag(request.etag)
        look = validation.not_negative("monitor_sequence", request.monitor_sequence)
        check_acting("monitor_sequence", look, force=request.force)
        deadline = self._calls.deadline(context)
        work = partial(self._lanes.undo, key, lane, wanted, etag, look, answers.pack_lane, deadline=deadline)
        with self._spans.transition(
            "undo", context, lane[0], segment=lane[1], monitor_sequence=look, reason=wanted.reason
        ) as span:
            undone = resources_pb2.Lane.FromString(await self._calls.act(work, look, deadline))
            span.set_attribute("crossfade.stable_version", undone.stable_version)
        return undone
