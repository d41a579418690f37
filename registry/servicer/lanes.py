"""RPCs that change a lane without a rollout."""

from functools import partial

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry import converters, views
from registry.domain.records import Undo
from registry.service.lane_actions import LaneService
from registry.service.models import LaneView
from registry.service.versions import VersionView
from registry.servicer import validation
from registry.servicer.calls import Calls, Context

# Methods are named as in the contract.
# ruff: noqa: N802


class LaneServicer(service_pb2_grpc.RegistryServiceServicer):
    """Lanes."""

    def __init__(self, calls: Calls, lanes: LaneService) -> None:
        self._calls = calls
        self._lanes = lanes

    async def LoadVersion(self, request: service_pb2.LoadVersionRequest, context: Context) -> resources_pb2.Lane:
        """Has Workers hold a version without traffic, or lets it go."""
        key = self._calls.key("LoadVersion", request, request.request_id)
        model, version = validation.version_name("name", request.name)
        name = (model, version, validation.segment("segment", request.segment))
        seconds = validation.load_seconds(request)
        etag = validation.etag(request.etag)
        deadline = self._calls.deadline(context)
        work = partial(self._lanes.load, key, name, seconds, etag, _pack_lane, deadline=deadline)
        return resources_pb2.Lane.FromString(await self._calls.run(work))

    async def WithdrawVersion(
        self, request: service_pb2.WithdrawVersionRequest, context: Context
    ) -> resources_pb2.Version:
        """Takes a PENDING version back."""
        key = self._calls.key("WithdrawVersion", request, request.request_id)
        model, version = validation.version_name("name", request.name)
        name = (model, version, validation.segment("segment", request.segment))
        etag = validation.etag(request.etag)
        reason = validation.text("reason", request.reason) or f"It was withdrawn by {key.principal}."
        deadline = self._calls.deadline(context)
        work = partial(self._lanes.withdraw, key, name, reason, etag, _pack_version, deadline=deadline)
        return resources_pb2.Version.FromString(await self._calls.run(work))

    async def UndoLane(self, request: service_pb2.UndoLaneRequest, context: Context) -> resources_pb2.Lane:
        """Makes an earlier version stable again."""
        key = self._calls.key("UndoLane", request, request.request_id)
        lane = (validation.model_name("model", request.model), validation.segment("segment", request.segment))
        wanted = Undo(
            version=validation.identifier("version", request.version) if request.version else "",
            reason=validation.text("reason", request.reason) or f"It was undone by {key.principal}.",
            bad=request.bad,
            cancel_rollout=request.cancel_rollout,
            force=request.force,
        )
        etag = validation.etag(request.etag)
        work = partial(self._lanes.undo, key, lane, wanted, etag, _pack_lane, deadline=self._calls.deadline(context))
        return resources_pb2.Lane.FromString(await self._calls.run(work))


def _pack_version(view: VersionView) -> bytes:
    return converters.pack(views.version_to_proto(view.version, view.states, view.placements))


def _pack_lane(view: LaneView) -> bytes:
    return converters.pack(views.lane_to_proto(view.lane, view.states))
