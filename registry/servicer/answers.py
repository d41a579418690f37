"""What use cases answer, on the wire: as messages, and serialized as they are kept for who asks again."""

from crossfade import names
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry import converters, views
from registry.service.history import PastModel
from registry.service.models import LaneView, ModelView
from registry.service.versions import PublishedView, VersionView


def model(view: ModelView) -> resources_pb2.Model:
    """A model and its lanes."""
    return views.model_to_proto(view.model, [views.lane_to_proto(lane.lane, lane.states) for lane in view.lanes])


def past_model(view: PastModel) -> resources_pb2.Model:
    """A model as it was."""
    lanes = [views.past_lane_to_proto(view.model.model, lane) for lane in view.lanes]
    return resources_pb2.Model(
        name=names.model_name(view.model.model), lanes=lanes, create_time=converters.timestamp(view.model.created)
    )


def version(view: VersionView) -> resources_pb2.Version:
    """A version, with its profile where that was read."""
    answer = views.version_to_proto(view.version, view.states, view.placements)
    if view.profile:
        answer.profile.ParseFromString(view.profile)
    return answer


def pack_model(view: ModelView) -> bytes:
    """A model, serialized."""
    return converters.pack(model(view))


def pack_lane(view: LaneView) -> bytes:
    """A lane, serialized."""
    return converters.pack(views.lane_to_proto(view.lane, view.states))


def pack_version(view: VersionView) -> bytes:
    """A version, serialized."""
    return converters.pack(version(view))


def pack_published(view: PublishedView) -> bytes:
    """What a publication did, serialized."""
    rollout = None if view.rollout is None else views.rollout_to_proto(view.rollout)
    response = service_pb2.PublishVersionResponse(version=version(view.version), rollout=rollout, note=view.note)
    return converters.pack(response)
