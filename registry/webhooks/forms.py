"""What is posted: a CloudEvent, signed; or a line for Slack.

Sources: CloudEvents 1.0.2, JSON event format and HTTP protocol binding (structured mode); Standard Webhooks 1.0
(headers and signature); Slack, "Sending messages using incoming webhooks".
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.json_format import MessageToDict

from crossfade import event_words
from crossfade.registry.v1 import resources_pb2
from registry.domain.webhooks import Delivery, Form, Webhook

_DONE: Final = {
    "ROLLOUT_PROMOTED": ":white_check_mark: *{model}* {version} was promoted",
    "ROLLOUT_ROLLED_BACK": ":x: *{model}* {version} was rolled back",
    "ROLLOUT_INCONCLUSIVE": ":grey_question: *{model}* {version}: its rollout ended without a decision",
    "ROLLOUT_CANCELLED": ":no_entry_sign: *{model}* {version}: its rollout was cancelled",
    "ROLLOUT_PAUSED": ":double_vertical_bar: *{model}* {version}: its rollout is paused",
    "LANE_UNDONE": ":rewind: *{model}* went back to {version}",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted."""

    body: bytes
    headers: Mapping[str, str]


def write(webhook: Webhook, delivery: Delivery, now: float) -> Request:
    """A delivery in the webhook's form. `now`: seconds since 1970, which the signature is of."""
    event = resources_pb2.Event.FromString(delivery.event)
    if webhook.form is Form.SLACK:
        return Request(json.dumps({"text": slack_text(event)}).encode(), {"content-type": "application/json"})
    body = json.dumps(cloud_event(event), separators=(",", ":")).encode()
    headers = {
        "content-type": "application/cloudevents+json; charset=utf-8",
        "webhook-id": f"{event.model}/{event.sequence}",
        "webhook-timestamp": str(int(now)),
    }
    if webhook.secret:
        headers["webhook-signature"] = sign(webhook.secret, headers["webhook-id"], headers["webhook-timestamp"], body)
    return Request(body, headers)


def sign(secret: bytes, identifier: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body, joined by dots."""
    signed = b".".join((identifier.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def cloud_event(event: resources_pb2.Event) -> dict[str, object]:
    """An event as a CloudEvent; its data are those of crossfade.registry.v1.Event."""
    return {
        "specversion": "1.0",
        "id": f"{event.model}/{event.sequence}",
        "source": f"/crossfade/models/{event.model}",
        "type": f"crossfade.{event.type.lower().replace('_', '.', 1)}.v1",
        "subject": event.rollout or "/versions/".join(filter(None, (f"models/{event.model}", event.version))),
        "time": event.time.ToJsonString(),
        "datacontenttype": "application/json",
        "data": MessageToDict(event, preserving_proto_field_name=True),
    }


def slack_text(event: resources_pb2.Event) -> str:
    """An event as a line of Slack's markup."""
    about = "*{model}* {version}: " if event.version else "*{model}*: "
    known = _DONE.get(event.type, about + event_words.kind(event.type))
    said = known.format(model=event.model, version=event.version)
    where = f" in segment {event.segment}" if event.segment else ""
    reason = event_words.why(event).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    rollout = f" (rollout {event.rollout.rpartition('/')[2]})" if event.rollout else ""
    return f"{said}{where}{rollout}: {reason}"
