"""Messages as JSON objects with the contract's field names."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from crossfade.cli.render.views import ModelView


def to_json(message: Message) -> dict[str, Any]:
    """A message with all its plain fields, so that the keys are the same each time; unset messages are left out."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def list_json(name: str, messages: Iterable[Message]) -> dict[str, Any]:
    """Messages under a name."""
    return {name: [to_json(message) for message in messages]}


def view_json(view: ModelView) -> dict[str, Any]:
    """What `status` shows of a model."""
    return {
        "model": to_json(view.model),
        "lanes": [
            {
                "segment": lane.lane.segment,
                "rollout": to_json(lane.rollout) if lane.rollout else None,
                "queued": to_json(lane.queued) if lane.queued else None,
                "analysis": to_json(lane.analysis) if lane.analysis else None,
                "alerts": [to_json(alert) for alert in lane.monitor.alerts] if lane.monitor else [],
                "undone": to_json(lane.undone) if lane.undone else None,
                "requests_per_second": _finite(lane.figures.per_second) if lane.figures else None,
                "versions": {
                    name: {
                        "attempts": one.attempts,
                        "failed": one.failed,
                        "median_seconds": _finite(one.median),
                        "labelled": one.labelled,
                        "right": one.right,
                    }
                    for name, one in (lane.figures.versions.items() if lane.figures else ())
                },
            }
            for lane in view.lanes
        ],
        "changed": to_json(view.changed) if view.changed else None,
        "workers": [to_json(worker) for worker in view.workers],
        "warnings": list(view.warnings),
    }


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
