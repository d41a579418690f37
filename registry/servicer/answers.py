"""What use cases answer, on the wire: as messages, and serialized as they are kept for who asks again."""

from urllib.parse import urlsplit

from crossfade import names
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry import converters, views
from registry.service.history import PastModel
from registry.service.models import LaneView, ModelView
from registry.service.versions import PublishedView, VersionView
from registry.service.webhooks import WebhookView


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


def webhook(view: WebhookView) -> resources_pb2.Webhook:
    """A webhook, with nothing of its URL that may be a secret."""
    answer = resources_pb2.Webhook(name=view.name, undelivered=view.undelivered)
    if view.webhook is not None:
        parts = urlsplit(view.webhook.url)
        # There is no user in it, and an address of IPv6 keeps its brackets.
        answer.host = f"{parts.scheme}://{parts.netloc}"
        answer.form = view.webhook.form
        answer.models.extend(sorted(view.webhook.models))
        answer.types.extend(sorted(view.webhook.types))
    for one in view.oldest:
        answer.deliveries.add(
            event=resources_pb2.Event.FromString(one.event),
            attempts=one.attempts,
            next_time=converters.timestamp(one.due),
            error=one.error,
        )
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
